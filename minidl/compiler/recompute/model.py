"""What every choice of recomputation needs, in plain numbers: the loads of a graph that is not
made. `run_twice` makes it; the loads of that are the same to the byte."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minidl.compiler.recompute.units import Unit, units
from minidl.ir import Array, StepGraph, Tensor

NEVER = 2**62
"""The key of what does not happen."""


class Model:
    """A step, some of its units dropped; `toggle` changes which.

    Time is a key: op i of the graph as it was has the key (i + 1) x step - 1, and forward op f,
    where it runs again just before op i, i x step + f. A tensor is a number; its copy is that
    plus the count of tensors. A toggle changes the keys of few tensors; `loads` then sorts the keys
    once and sums.
    """

    def __init__(self, graph: StepGraph, alignment: int, known: list[Unit] | None = None) -> None:
        self.graph, self.alignment = graph, alignment
        self.units = units(graph) if known is None else known
        self.count = len(graph.ops)
        self.step = self.count + 1
        self._number_tensors()
        self._number_units()
        self._first_keys()
        self._overwrites()
        self._fold()
        self.dropped = [False] * len(self.units)
        self.need = [self.count] * len(self.units)
        """The op of the graph before which each dropped unit runs again; none: past the last."""
        self.work = 0
        """Operations of what runs again."""
        self.stale = 0
        """Units that would read what has changed by then: above 0 the choice is none."""

    # -- tables -----------------------------------------------------------------------------------

    def _number_tensors(self) -> None:
        graph, n = self.graph, self.count
        given = [*(v.tensor for v in graph.variables), *graph.waiting, *graph.inputs]
        touched = (t for op in graph.ops for t in op.touched)
        self.tensors = list(dict.fromkeys((*given, *touched)))
        self.number = {t: k for k, t in enumerate(self.tensors)}
        self.many = many = len(self.tensors)
        self.first, self.last = [-1] * many, [-1] * many
        self.last_forward, self.first_backward = [-1] * many, [n] * many
        for k in range(len(dict.fromkeys(given))):
            self.first[k], self.last[k] = 0, 0
        changed_at: dict[Tensor, int] = {}
        for i, op in enumerate(graph.ops):
            for t in op.touched:
                k = self.number[t]
                self.first[k] = i if self.first[k] < 0 else self.first[k]
                self.last[k] = i
                if op.phase == "forward":
                    self.last_forward[k] = i
                elif self.first_backward[k] == n:
                    self.first_backward[k] = i
            if op.phase != "forward":
                for t in op.writes:
                    if t.persistent:
                        changed_at.setdefault(t, i)
        self.changed_at = changed_at
        for t in (*graph.outputs, *(t for t in self.tensors if t.persistent)):
            self.last[self.number[t.storage]] = n - 1
        if graph.outputs[0].size == 1:
            self.first[self.number[graph.outputs[0].storage]] = 0
        blocks = [-(-t.nbytes // self.alignment) for t in self.tensors]
        self.sizes = np.array([*blocks, *blocks], np.float64)

    def _number_units(self) -> None:
        place = {op: i for i, op in enumerate(self.graph.ops)}
        maker = {t: u for u, unit in enumerate(self.units) for t in unit.writes}
        self.places = [[place[op] for op in unit.ops] for unit in self.units]
        self.writes = [[self.number[t] for t in unit.writes] for unit in self.units]
        self.reads = [[self.number[t] for t in unit.reads] for unit in self.units]
        self.operands = [
            sorted({maker[t] for t in unit.reads if t in maker}, reverse=True)
            for unit in self.units
        ]
        self.unit_of = [maker.get(t, -1) for t in self.tensors]
        self.around = [
            [*writes, *reads] for writes, reads in zip(self.writes, self.reads, strict=True)
        ]
        self.first_place = [0] * self.many
        """By tensor, the place of the first op of its unit that touches it."""
        self.readers: list[list[tuple[int, int]]] = [[] for _ in self.tensors]
        """By tensor, the units that read it, and the last op of each that does."""
        self.users: list[list[int]] = [[] for _ in self.units]
        """By unit, the units that read what it writes."""
        for u, unit in enumerate(self.units):
            lasts: dict[int, int] = {}
            for op in reversed(unit.ops):
                for t in op.touched:
                    if self.unit_of[self.number[t]] == u:
                        self.first_place[self.number[t]] = place[op]
            for op in unit.ops:
                for t in op.touched:
                    lasts[self.number[t]] = place[op]
            for k, f in lasts.items():
                self.readers[k].append((u, f))
            for v in self.operands[u]:
                self.users[v].append(u)
        self.wanted = [
            min((self.first_backward[k] for k in ks), default=self.count) for ks in self.writes
        ]
        """By unit, the first op of backward that touches what it writes."""
        self.fresh = [
            min(
                (self.changed_at[t] for op in unit.ops for t in op.reads if t in self.changed_at),
                default=self.count,
            )
            for unit in self.units
        ]
        """By unit, the op that first changes what it reads: it must run again before."""
        self.flops = [unit.flops for unit in self.units]

    def _first_keys(self) -> None:
        step, many = self.step, self.many
        self.starts = np.full(2 * many, NEVER, np.int64)
        self.ends = np.full(2 * many, NEVER, np.int64)
        self.starts[:many] = [(i + 1) * step - 1 for i in self.first]
        self.ends[:many] = [(i + 1) * step - 1 for i in self.last]
        self.end = self.ends[:many].tolist()
        self.end_forward = [(i + 1) * step - 1 for i in self.last_forward]
        self.own = np.arange(1, self.count + 1, dtype=np.int64) * step - 1
        self.second: dict[int, list[int]] = {}
        """By dropped unit that runs again, the keys of its ops there."""

    def _overwrites(self) -> None:
        """The pairs that may share bytes, in rounds: the k-th of every op is in round k.

        A row is the key of the op, below 0 as long as it does not run, then (new, old), and whether
        it reads copies. Ops that may run again have rows for that, too.
        """
        self.rows: dict[int, list[tuple[int, int]]] = {}
        """By forward op, (round, row) of its rows for when it runs again."""
        rounds: list[list[tuple[int, int, int, bool]]] = []
        for i, op in enumerate(self.graph.ops):
            for k, (new, old) in enumerate(op.may_overwrite):
                if k == len(rounds):
                    rounds.append([])
                pair = self.number[new], self.number[old]
                rounds[k].append(((i + 1) * self.step - 1, *pair, op.phase != "forward"))
                if op.phase == "forward":
                    self.rows.setdefault(i, []).append((k, len(rounds[k])))
                    rounds[k].append((-1, *pair, True))
        self.rounds = [tuple(np.array(c) for c in zip(*one, strict=True)) for one in rounds]

    def _fold(self) -> None:
        """Sum up what no choice changes: what no unit that may run again touches."""
        many, n = len(self.tensors), self.count
        pure = [u for u, unit in enumerate(self.units) if unit.pure]
        made = sorted({k for u in pure for k in self.writes[u]})
        read = {k for u in pure for k in self.reads[u] if not self.tensors[k].persistent}
        moving = np.array(sorted({*made, *read}), np.int64)
        self.moving = np.concatenate((moving, np.array(made, np.int64) + many))
        still = np.ones(many, bool)
        still[moving] = False
        first, last = np.array(self.first)[still], np.array(self.last)[still]
        sizes = self.sizes[:many][still]
        begin = np.bincount(first, sizes, n + 1)
        end = np.bincount(last + 1, sizes, n + 1)
        live = np.cumsum(begin - end)[:n]
        self.still = np.stack((live - begin[:n], live), axis=1).ravel()
        """Bytes, in blocks, of that: just before op i, and at op i."""

    # -- changes ----------------------------------------------------------------------------------

    def toggle(self, changes: Iterable[int]) -> None:
        """Drop those of the units that are kept, and keep those that are dropped."""
        changes = list(changes)
        for u in changes:
            self.dropped[u] = not self.dropped[u]
        affected = self._behind(changes)
        need = {u: self.wanted[u] if self.dropped[u] else self.count for u in affected}
        waiting = set(affected)
        while waiting:  # from users to operands, as a rule each once
            u = max(waiting)
            waiting.remove(u)
            if not self.dropped[u]:
                continue
            least = min([need[u], *(need.get(v, self.need[v]) for v in self.users[u])])
            if least < need[u]:
                need[u] = least
                waiting.update(v for v in self.operands[u] if need.get(v, 0) > least)
        moved = [u for u in affected if need[u] != self.need[u]]
        for u in moved:
            self._account(u, need[u])
        for k in {k for u in moved for k in self.around[u]}:
            self._span(k)

    def _behind(self, changes: list[int]) -> set[int]:
        """The units, and the dropped ones that they need in turn."""
        found, waiting = set(changes), changes.copy()
        while waiting:
            for v in self.operands[waiting.pop()]:
                if self.dropped[v] and v not in found:
                    found.add(v)
                    waiting.append(v)
        return found

    def _account(self, u: int, need: int) -> None:
        """Take down when a unit runs again, and what that costs."""
        n, before = self.count, self.need[u]
        self.work += self.flops[u] * ((need < n) - (before < n))
        self.stale += (self.fresh[u] < need < n) - (self.fresh[u] < before < n)
        self.need[u] = need
        if need < n:
            self.second[u] = [need * self.step + f for f in self.places[u]]
        else:
            self.second.pop(u, None)
        for f in self.places[u]:
            for k, row in self.rows.get(f, ()):
                self.rounds[k][0][row] = need * self.step + f if need < n else -1

    def _span(self, k: int) -> None:
        """The keys between which a tensor, and its copy, hold."""
        step, many, n, need = self.step, self.many, self.count, self.need
        end = self.end[k]
        for v, f in self.readers[k]:
            if need[v] < n and need[v] * step + f > end:
                end = need[v] * step + f
        u = self.unit_of[k]
        if u >= 0 and need[u] < n:
            self.ends[k] = self.end_forward[k]
            self.starts[many + k] = need[u] * step + self.first_place[k]
            self.ends[many + k] = end
        else:
            self.ends[k] = end
            self.starts[many + k] = self.ends[many + k] = NEVER

    # -- figures ----------------------------------------------------------------------------------

    def keys(self) -> Array:
        """Of every op, those that run again included, in order."""
        second = [key for keys in self.second.values() for key in keys]
        return np.sort(np.concatenate((self.own, np.array(second, np.int64))), kind="stable")

    def loads(self, keys: Array) -> Array:
        """Bytes live at each of `keys`, as `minidl.compiler.lifetimes.loads` has them."""
        many = len(keys) + 1
        first = keys.searchsorted(self.starts[self.moving])
        past = keys.searchsorted(self.ends[self.moving], side="right")
        sizes = self.sizes[self.moving]
        change = np.bincount(first, sizes, many) - np.bincount(past, sizes, many)
        op, rest = np.divmod(keys, self.step)
        load = change[:-1].cumsum() + self.still[2 * op + (rest == self.step - 1)]
        self._take_overwritten(load, keys)
        found: Array = load.astype(np.int64) * self.alignment
        return found

    def _take_overwritten(self, load: Array, keys: Array) -> None:
        """Count once what is written over what dies there."""
        many = len(self.tensors)
        copied = self.starts[many:] < NEVER
        begun, ended = np.zeros((2, 2 * many), bool)
        for at, new, old, later in self.rounds:
            new, old = new + many * (copied[new] & later), old + many * (copied[old] & later)
            shares = (self.ends[old] == at) & (self.starts[new] == at)
            shares &= ~(begun[new] | ended[old])
            here = new[shares]
            begun[here] = ended[old[shares]] = True
            np.subtract.at(load, keys.searchsorted(at[shares]), self.sizes[here])

    def floor(self) -> int:
        """Bytes that every choice needs in this order: what none changes, and what op touches."""
        load = self.still[1::2].copy()
        moving = set(self.moving.tolist())
        for i, op in enumerate(self.graph.ops):
            over = {self.number[new] for new, _ in op.may_overwrite}
            load[i] += sum(self.sizes[k] for t in op.touched if (k := self.number[t]) in moving)
            load[i] -= sum(self.sizes[k] for k in over)
        return int(load.max(initial=0)) * self.alignment

    def peak(self) -> int:
        return int(self.loads(self.keys()).max(initial=0))

    def drop(self) -> frozenset[Tensor]:
        """What the dropped units write: the choice, as `run_twice` takes it."""
        return frozenset(t for u, d in enumerate(self.dropped) if d for t in self.units[u].writes)
