"""The search for what to make anew: for every number of bytes, the least work that gets there."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minidl.compiler.recompute.model import NEVER, Model
from minidl.ir import Array

HOT, COLD = 3e-3, 1e-5
"""Temperatures, as shares of the step's work, at which each level begins and ends."""

HOTTER = 0.02
"""Most of the temperature, as a share of the work that is spent already."""

PRUNING = 4_000_000
"""Choices that are looked at to keep what need not be dropped, times the ops of the graph."""

PATIENCE = 100
"""Offers in vain, one after the other, before greedy growth ends."""

REACH = 10
"""Units, in the order of the network, that change together as a run, on average."""

ALWAYS: Callable[[int], bool] = lambda unit: True  # noqa: E731


@dataclass(frozen=True)
class Choice:
    """Which units run again, and what that gives."""

    work: int
    """Operations of what runs again."""
    peak: int
    """Bytes, in the order that was searched in."""
    drop: frozenset[int]
    """The numbers of the units."""
    base: int = 0
    """The number of that order."""


@dataclass(frozen=True)
class _Offer:
    """Units to drop together."""

    units: list[int]
    freed: float = 0
    worth: float = 0
    """Of what is freed, for each operation."""


class Found:
    """The choices that no other one beats in both work and peak, least work first."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []

    def beaten(self, work: int, peak: int) -> bool:
        """Whether there is a choice of no more work and no higher peak."""
        i = bisect_left(self.choices, work + 1, key=lambda c: c.work)
        return i > 0 and self.choices[i - 1].peak <= peak

    def add(self, choice: Choice) -> None:
        """Take it, and leave those that it beats."""
        if self.beaten(choice.work, choice.peak):
            return
        i = bisect_left(self.choices, choice.work, key=lambda c: c.work)
        j = i
        while j < len(self.choices) and self.choices[j].peak >= choice.peak:
            j += 1
        self.choices[i:j] = [choice]

    def within(self, peak: int) -> Choice | None:
        """The choice of least work with at most that peak."""
        return next((c for c in self.choices if c.peak <= peak), None)

    def above(self, peak: int) -> Choice | None:
        """The choice of most work with a higher peak."""
        return next((c for c in self.choices[::-1] if c.peak > peak), None)

    @property
    def lowest(self) -> int:
        """Bytes that no choice is below."""
        return self.choices[-1].peak


class Search:
    """Simulated annealing (Kirkpatrick et al. 1983) over which units are dropped, level by level.

    The energy is the share of work and, for what is above the level, the highest excess and the
    sum of all. A move is a unit, with operands dead by then, a pair, or a whole run of units that
    is dropped, kept, or made as an earlier choice has it. Random numbers are of one seed, and what
    is counted is moves: the same answer on every machine.
    """

    def __init__(
        self, model: Model, found: Found, may: Callable[[int], bool] = ALWAYS, base: int = 0
    ) -> None:
        self.model, self.found, self.base = model, found, base
        self.random = random.Random(0)
        self.may = [unit.pure and may(u) for u, unit in enumerate(model.units)]
        self.units = [u for u, may_run in enumerate(self.may) if may_run]
        self.whole = max(1, model.graph.flops)
        self.evaluated = 0
        self.excess(0)

    # -- figures ----------------------------------------------------------------------------------

    def excess(self, level: int) -> float:
        """What the choice is above `level`, as a share of it; notes the choice."""
        self.keys = self.model.keys()
        self.loads = loads = self.model.loads(self.keys)
        self.evaluated += 1
        peak, work = int(loads.max(initial=0)), self.model.work
        if not self.model.stale and not self.found.beaten(work, peak):
            dropped = frozenset(u for u in self.units if self.model.dropped[u])
            self.found.add(Choice(work, peak, dropped, self.base))
        if peak <= level or not level:
            return 0.0
        return (peak - level + float(np.maximum(loads - level, 0).sum()) / 30) / level

    def choose(self, drop: frozenset[int]) -> None:
        """Make the choice that one."""
        self.model.toggle([u for u in self.units if self.model.dropped[u] != (u in drop)])

    # -- the walk ---------------------------------------------------------------------------------

    def exhaust(self) -> None:
        """Look at every choice that there is, in the order of a Gray code."""
        self.choose(frozenset())
        for k in range(1, 1 << len(self.units)):
            self.model.toggle([self.units[(k & -k).bit_length() - 1]])
            if not self.model.stale:
                self.excess(0)

    def grow(self, limit: float = math.inf) -> None:
        """From nothing on, drop at the peak what frees most bytes for its work, one after the other
        (Chen et al. 2016; DTR, Kirisame et al. 2021), until that is in vain for long; then keep
        again what need not be dropped. limit: operations at most."""
        self.choose(frozenset())
        model, refused, failures = self.model, set[int](), 0
        self.excess(0)
        before = self._height()
        while failures < PATIENCE:
            key = int(self.keys[int(np.argmax(self.loads))])
            offers = [self._offer(u, key) for u in self._idle_at(key) if u not in refused]
            best = max((o for o in offers if o.freed > 0), key=lambda o: o.worth, default=None)
            if best is None:
                break
            model.toggle(best.units)
            if not model.stale and model.work <= limit:
                self.excess(0)
                if self._height() < before:
                    before, failures = self._height(), 0
                    continue
            model.toggle(best.units)
            self.excess(0)
            refused.add(best.units[0])
            failures += 1
        self.prune(before[0])

    def _height(self) -> tuple[int, int]:
        """What falls as long as there is progress: the peak, and the ops at which it stands."""
        peak = int(self.loads.max(initial=0))
        return peak, int((self.loads == peak).sum())

    def _idle_at(self, key: int) -> list[int]:
        """The units of which something waits at `key` for the backward pass, if none is dropped."""
        model = self.model
        waits = (self._made < key) & (key < np.array(model.wanted) * model.step)
        return [u for u in self.units if waits[u]]

    @cached_property
    def _made(self) -> Array:
        """By unit, where the forward pass has first done with something of what it writes."""
        ends = self.model.end_forward
        return np.array([min((ends[k] for k in ks), default=NEVER) for ks in self.model.writes])

    def _offer(self, u: int, key: int) -> _Offer:
        """What dropping a unit frees at `key`, less what it holds there for that, and its work."""
        model = self.model
        need = self._need(u)
        idle = [k for k in model.writes[u] if model.end_forward[k] < key < need * model.step]
        if model.dropped[u] or not idle:
            return _Offer([u])
        freed, flops = sum(float(model.sizes[k]) for k in idle), model.flops[u]
        size, found, waiting = freed, [u], [u]
        while waiting:
            for k in model.reads[waiting.pop()]:
                v, held = model.unit_of[k], float(model.sizes[k])
                if v < 0 or v in found or model.dropped[v] or model.last[k] >= need:
                    continue
                if self.may[v] and (model.units[v].cheap or held >= size):
                    found.append(v)
                    waiting.append(v)
                    flops += model.flops[v]
                else:
                    freed -= held
        return _Offer(found, freed, freed / (flops + 1))

    def _need(self, u: int) -> int:
        """The op of the graph before which a unit would run again."""
        model = self.model
        return min([model.wanted[u], *(model.need[v] for v in model.users[u])])

    def reach(self, level: int, moves: int) -> None:
        """Look for choices of little work whose peak is at most `level`."""
        if not self.units:
            return
        model, draw = self.model, self.random.random
        energy = model.work / self.whole + self.excess(level)
        hot = min(HOT, HOTTER * model.work / self.whole + 1e-4)
        for done in range(moves):
            heat = hot * (COLD / hot) ** (done / moves)
            limit = energy - heat * math.log(1 - draw())
            units = list(self.move())
            model.toggle(units)
            work = model.work / self.whole
            if not model.stale and work <= limit and (after := work + self.excess(level)) <= limit:
                energy = after
            else:
                model.toggle(units)

    def prune(self, level: int) -> None:
        """Keep again what need not be dropped for `level`, dearest first."""
        flops = self.model.flops
        dropped = [u for u in self.units if self.model.dropped[u]]
        dropped.sort(key=lambda u: -flops[u])
        stride = max(1, len(dropped) // 64)
        most = self.evaluated + PRUNING // max(1, len(self.model.graph.ops))
        for start in range(0, len(dropped), stride):
            self._keep(dropped[start : start + stride], level, most)

    def _keep(self, units: list[int], level: int, most: int) -> None:
        """Keep all of `units` where `level` allows it, else by halves, until `most` choices were
        looked at."""
        before = self.model.work
        self.model.toggle(units)
        if not self.model.stale and self.model.work <= before and not self.excess(level):
            return
        self.model.toggle(units)
        if len(units) > 1 and self.evaluated < most:
            self._keep(units[: len(units) // 2], level, most)
            self._keep(units[len(units) // 2 :], level, most)

    # -- moves ------------------------------------------------------------------------------------

    def move(self) -> set[int]:
        """Units to drop or to keep that were not, together."""
        kind = self.random.random()
        if kind < 0.3:
            return self._run()
        if kind < 0.4 and (pair := self._pair()):
            return pair
        return self._one()

    def _one(self) -> set[int]:
        """A unit; where it is dropped, as a rule with operands that are dead by then."""
        draw, dropped = self.random.random, self.model.dropped
        u = self.random.choice(self.units)
        kind = draw()
        alone = dropped[u] or kind < 0.3
        found = {u} if alone else self._with_operands(u, cheap=kind < 0.6)
        if draw() < 0.15 and (others := [v for v in self.units if dropped[v] and v not in found]):
            found.add(self.random.choice(others))
        return found

    def _pair(self) -> set[int]:
        """A unit that is dropped, and one near it instead."""
        at = [i for i, u in enumerate(self.units) if self.model.dropped[u]]
        if not at:
            return set()
        i = self.random.choice(at)
        j = min(max(0, i + self.random.randint(-6, 6)), len(self.units) - 1)
        return {self.units[i], self.units[j]} if i != j else set()

    def _run(self) -> set[int]:
        """Units in a row: all dropped, or the dear ones kept, or all kept, or as elsewhere."""
        start = self.random.randrange(len(self.units))
        length = 2 + int(self.random.expovariate(1 / REACH))
        run, kind = self.units[start : start + length], self.random.random()
        dropped, units = self.model.dropped, self.model.units
        if kind < 0.35:
            found = {u for u in run if not dropped[u]}
        elif kind < 0.5:
            found = {u for u in run if dropped[u] and not units[u].cheap}
        elif kind < 0.65:
            found = {u for u in run if dropped[u]}
        else:
            other = self.random.choice(self.found.choices).drop
            found = {u for u in run if dropped[u] != (u in other)}
        return found or {run[0]}

    def _with_operands(self, u: int, cheap: bool) -> set[int]:
        """A unit and, in turn, the makers of operands that are dead when it runs again."""
        model = self.model
        need = self._need(u)
        found, waiting = {u}, [u]
        while waiting:
            for k in model.reads[waiting.pop()]:
                v = model.unit_of[k]
                if v < 0 or v in found or not self.may[v] or model.dropped[v]:
                    continue
                if model.last[k] < need and (model.units[v].cheap or not cheap):
                    found.add(v)
                    waiting.append(v)
        return found
