"""The choices of recomputation that a step has: for every number of bytes the least work."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from minidl.compiler.recompute.copies import in_order_of, run_twice
from minidl.compiler.recompute.model import Model
from minidl.compiler.recompute.search import Choice, Found, Search
from minidl.ir import StepGraph, Tensor
from minidl.options import ALIGNMENT

MOVES = 300
"""Moves at each level of bytes, in a graph of `OPS` ops; larger ones have fewer, so that a search
takes about as long."""

OPS = 900

FEW = 100
"""Moves at each level at least."""

A_UNIT = 12
"""Moves at each level for each unit that may run again: more are for nothing."""

STEP = 0.94
"""Each level of bytes, of the one above it."""

FINE = 0.97
"""The same on the way up again."""

SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 1.0)
"""Of the step's work, that greedy choices are made for before the walk."""

EXACT = 10
"""Units at most of which every choice is looked at."""

PATIENCE = 3
"""Levels in a row without a lower choice, before the walk down ends."""

LEVELS = 16
"""At most, from the top down."""

WORTH = 0.005
"""Share of the peak that cheap ops together must save, to be worth any work at all."""

Progress = Callable[[float], None]
"""Called with the share that is done."""


@dataclass(frozen=True)
class Front:
    """Choices that no other one beats in both work and peak, least work first; the first is none.

    Work is counted in operations, and peaks in bytes, in the order of `bases[choice.base]`.
    """

    bases: tuple[StepGraph, ...]
    """The step, in the orders that were searched in."""
    choices: tuple[Choice, ...]
    cheap: Choice
    """What is chosen where nothing but ops as cheap as an elementwise pass may run again."""
    made: tuple[tuple[Tensor, ...], ...]
    """By unit, what it makes."""

    def graph(self, choice: Choice) -> StepGraph:
        """The step with that choice."""
        drop = frozenset(t for u in choice.drop for t in self.made[u])
        return run_twice(self.bases[choice.base], drop) if drop else self.bases[choice.base]

    def within(self, work: int) -> Choice:
        """The lowest choice of at most `work` operations, or of cheap ops."""
        found = (c for c in self.choices if c.work <= work)
        return min((self.cheap, *found), key=lambda c: (c.peak, c.work))


class Chooser:
    """The choices of one step: each walk is made once, when it is first asked for."""

    def __init__(
        self,
        graph: StepGraph,
        order: Callable[[StepGraph], StepGraph],
        alignment: int = ALIGNMENT,
        progress: Progress = lambda share: None,
    ) -> None:
        self.graph, self.order, self.alignment = graph, order, alignment
        self.progress = progress

    @cached_property
    def cheap(self) -> Front:
        """Those among ops as cheap as an elementwise pass: all of them, less what does not help.

        None of them where all together save next to nothing.
        """
        model, found = self._model, Found()
        search = Search(model, found, may=lambda u: model.units[u].cheap)
        none, moves = found.choices[0], _moves(search)
        search.choose(frozenset(search.units))
        search.excess(0)
        search.prune(found.lowest)
        for _ in range(2):
            search.choose(found.choices[-1].drop)
            search.reach(int(found.lowest * 0.98), 3 * moves // 2)
            search.choose(found.choices[-1].drop)
            search.prune(found.lowest)
        search.choose(frozenset())
        least = found.choices[-1]
        worth = least.peak <= (1 - WORTH) * none.peak
        made = tuple(unit.writes for unit in model.units)
        return Front((self.graph,), tuple(found.choices), least if worth else none, made)

    @property
    def lowest(self) -> Front:
        """Those among all ops, from the cheap ones down, level by level, until nothing gets lower,
        in the order as it is and in the one that is best for the lowest. What is above the lowest
        may take more work than it has to."""
        return self._downward[0]

    @property
    def front(self) -> Front:
        """The same, and up again, level by level."""
        return self._upward[0]

    def at(self, target: int) -> Front:
        """The same, with `target` bytes looked at once more, on their own."""
        _, search = self._upward
        if len(search.units) > EXACT:
            _Walk(search, self.progress).at(target)
        return self._front(search)

    @cached_property
    def _model(self) -> Model:
        return Model(self.graph, self.alignment)

    @cached_property
    def _downward(self) -> tuple[Front, Search]:
        cheap, model, found = self.cheap, self._model, Found()
        for choice in cheap.choices:
            found.add(choice)
        search = Search(model, found)
        if len(search.units) <= EXACT:
            search.exhaust()
        else:
            for share in SHARES:
                search.grow(share * search.whole)
            _Walk(search, self.progress).down()
        better = Found()
        search = Search(self._reordered(found), better, base=1)
        for choice in found.choices:
            better.add(choice)
            search.choose(choice.drop)
            search.excess(0)
        if len(search.units) <= EXACT:
            search.exhaust()
        else:
            _Walk(search, self.progress, 0.5).down()
        return self._front(search), search

    @cached_property
    def _upward(self) -> tuple[Front, Search]:
        front, search = self._downward
        if len(search.units) > EXACT:
            _Walk(search, self.progress, 0.5).up(self.cheap.cheap.peak)
            front = self._front(search)
        return front, search

    def _front(self, search: Search) -> Front:
        cheap = self.cheap
        bases, choices = (self.graph, search.model.graph), tuple(search.found.choices)
        return Front(bases, choices, cheap.cheap, cheap.made)

    def _reordered(self, found: Found) -> Model:
        """The model of the step in the order that is best for the lowest choice."""
        model = self._model
        drop = frozenset(t for u in found.choices[-1].drop for t in model.units[u].writes)
        graph = in_order_of(model.graph, drop, self.order)
        return Model(graph, model.alignment, model.units)


def _moves(search: Search) -> int:
    """Moves at each level."""
    ops = max(OPS, len(search.model.graph.ops))
    return min(max(FEW, MOVES * OPS // ops), A_UNIT * len(search.units))


class _Walk:
    """From level to level; start: the share of all that is done."""

    def __init__(self, search: Search, progress: Progress, start: float = 0) -> None:
        self.search, self.progress, self.start = search, progress, start
        self.moves = _moves(search)
        self.levels: list[int] = []

    def down(self) -> None:
        """From the lowest peak that there is, until a level is out of reach for long."""
        found, floor = self.search.found, self.search.model.floor()
        level, failures = found.lowest, 0
        while level > floor and len(self.levels) < LEVELS and failures < PATIENCE:
            self._say(len(self.levels) / LEVELS / 2)
            level, before = max(floor, int(level * STEP)), found.lowest
            self.levels.append(level)
            self.search.choose(found.choices[-1].drop)
            self._at(level, self.moves)
            failures = 0 if found.lowest < before else failures + 1

    def up(self, top: int) -> None:
        """From the lowest peak to `top` in small steps."""
        found = self.search.found
        count = max(1, math.ceil(math.log(top / max(1, found.lowest)) / -math.log(FINE)))
        levels = [int(top * (found.lowest / top) ** (k / count)) for k in range(count, 0, -1)]
        for done, level in enumerate(levels):
            self._say(0.5 + done / len(levels) / 2)
            self.at(level)

    def at(self, level: int) -> None:
        """From the choices next above and below a level."""
        found = self.search.found
        for start in (found.above(level), found.within(level)):
            if start is not None:
                self.search.choose(start.drop)
                self._at(level, self.moves // 4)

    def _say(self, share: float) -> None:
        self.progress(self.start + share / 2)

    def _at(self, level: int, moves: int) -> None:
        self.search.reach(level, moves)
        best = self.search.found.within(level)
        if best is not None:
            self.search.choose(best.drop)
            self.search.prune(level)
