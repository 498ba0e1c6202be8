"""Which tensors to make a second time, so that the step's peak falls at the least extra work."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.compiler.lifetimes import loads
from minidl.compiler.recompute.copies import Copies, StaleError, makers, run_twice
from minidl.ir import Op, StepGraph, Tensor
from minidl.options import ALIGNMENT


@dataclass(frozen=True, slots=True)
class Limits:
    """What recomputation may spend, and what it is for."""

    flops: int | None = None
    """Most floating-point operations; None: only ops as cheap as an elementwise pass."""
    target: int = 0
    """Bytes at which the peak is low enough."""


AT_A_TIME = 2000
"""Ops of a graph for each tensor that is dropped at a time: larger graphs take larger strides, so
that the number of graphs that are tried stays about the same."""


WORTH = 0.005
"""Share of the peak that all of it together must save, to be worth any work at all."""

PATIENCE = 100_000
"""Ops of the graphs that are tried in vain, one after the other, before the search ends."""


def recompute(graph: StepGraph, limits: Limits, alignment: int = ALIGNMENT) -> StepGraph:
    """`graph`, in its order, with forward ops run again where that lowers its peak.

    Greedy: of the tensors that are kept across the peak, the one that frees most bytes there for
    its operations is made anew, until the peak is at the target or nothing helps. Then whatever
    the result does not need is taken back, dearest first. Greedy choices by bytes for work are
    those of Chen et al. 2016 and of DTR (Kirisame et al. 2021); Checkmate (Jain et al. 2020) gives
    the integer program that they approximate.
    """
    search = _Search(graph, limits, alignment)
    before = search.state.peak
    search.grow()
    if before > limits.target and search.state.peak > max(limits.target, (1 - WORTH) * before):
        return graph
    search.prune()
    return search.state.graph


@dataclass(frozen=True)
class _State:
    """A choice, the graph that it gives, and what that needs."""

    drop: frozenset[Tensor]
    graph: StepGraph
    loads: list[int]

    @property
    def peak(self) -> int:
        return max(self.loads, default=0)

    @property
    def excess(self) -> tuple[int, int]:
        """What falls as long as there is progress: the peak, and the ops at which it stands."""
        return self.peak, self.loads.count(self.peak)


class _Search:
    def __init__(self, graph: StepGraph, limits: Limits, alignment: int) -> None:
        self.graph, self.limits, self.alignment = graph, limits, alignment
        self.makers = _pure_makers(graph)
        self.uses = _Uses(graph)
        self.copies = Copies(graph)
        self.stride = max(1, len(graph.ops) // AT_A_TIME)
        self.patience = max(8, PATIENCE // max(1, len(graph.ops)))
        self.failures = 0
        """Choices in a row that were no progress."""
        self.refused: set[Tensor] = set()
        self.state = self._state(frozenset())

    def grow(self) -> None:
        """Drop tensors until the peak is at the target or nothing helps any more."""
        while self.state.peak > self.limits.target:
            position = self.state.loads.index(self.state.peak)
            choices = self._choices(self._original(position))
            if not choices or self.failures > self.patience:
                return
            if self.stride > 1 and self._take(choices[: self.stride]):
                continue
            if not self._take(choices[:1]):
                self.refused.add(choices[0].tensor)
                self.failures += 1

    def _take(self, choices: list[_Choice]) -> bool:
        """Make those choices if that is progress."""
        after = self._try(self.state.drop.union(*(c.drop for c in choices)))
        if after is None or after.excess >= self.state.excess:
            return False
        self.state, self.failures = after, 0
        return True

    def prune(self) -> None:
        """Keep again what need not be dropped for the peak that was reached, dearest first."""
        limit, self.failures = max(self.state.peak, self.limits.target), 0
        place = {t: i for i, t in enumerate(self.makers)}
        tensors = sorted(self.state.drop, key=lambda t: (-self._flops(t), place[t]))
        for start in range(0, len(tensors), self.stride):
            self._keep(tensors[start : start + self.stride], limit)

    def _keep(self, tensors: list[Tensor], limit: int) -> None:
        """Keep all of `tensors` where the peak allows it, else by halves."""
        tensors = [t for t in tensors if t in self.state.drop and self._may_fit(t, limit)]
        if not tensors or self.failures > self.patience:
            return
        after = self._try(self.state.drop.difference(tensors))
        if after is not None and after.peak <= limit and _work(after) <= _work(self.state):
            self.state = after
            return
        self.failures += 1
        if len(tensors) > 1:
            middle = len(tensors) // 2
            self._keep(tensors[:middle], limit)
            self._keep(tensors[middle:], limit)

    def _original(self, position: int) -> int:
        """The position in the graph as it was: ops keep their order, some run again in between."""
        return sum(op.phase != "recompute" for op in self.state.graph.ops[:position])

    def _choices(self, position: int) -> list[_Choice]:
        """The tensors kept across `position` that free bytes there, most for their work first."""
        choices = (
            self._choice(t)
            for t in self.uses.kept_across(position)
            if t in self.makers and t not in self.state.drop and t not in self.refused
        )
        return sorted((c for c in choices if c.freed > 0), key=lambda c: -c.freed / (c.flops + 1))

    def _choice(self, t: Tensor) -> _Choice:
        """What making `t` anew takes: its op, and in turn those of operands dead by then."""
        needed = self.uses.first_backward[t]
        drop, flops, held, waiting = {t}, self._flops(t), 0, [t]
        while waiting:
            makers = self.makers[waiting.pop()]
            for operand in dict.fromkeys(x.storage for op in makers for x in op.reads):
                if operand in drop or operand in self.state.drop or self._alive(operand, needed):
                    continue
                if self._cheaper_twice(operand, t):
                    drop.add(operand)
                    flops += self._flops(operand)
                    waiting.append(operand)
                else:
                    held += operand.nbytes
        return _Choice(t, frozenset(drop), flops, t.nbytes - held)

    def _alive(self, operand: Tensor, needed: int) -> bool:
        return operand.given or self.uses.last[operand] > needed

    def _cheaper_twice(self, operand: Tensor, t: Tensor) -> bool:
        """Whether to run the op of a dead operand again instead of holding the operand."""
        if operand not in self.makers:
            return False
        cheap = all(op.contract.cheap for op in self.makers[operand])
        return cheap or (self.limits.flops is not None and operand.nbytes >= t.nbytes)

    def _flops(self, t: Tensor) -> int:
        return sum(op.flops for op in self.makers[t])

    def _may_fit(self, t: Tensor, limit: int) -> bool:
        """Whether there is room for `t` between its last use in forward and its next."""
        first, last = self.uses.last_forward[t], self.uses.first_backward.get(t, 0)
        ops, seen, room = self.state.graph.ops, 0, True
        for op, load in zip(ops, self.state.loads, strict=True):
            if first < seen < last and load + t.nbytes > limit:
                room = False
            seen += op.phase != "recompute"
        return room

    def _try(self, drop: frozenset[Tensor]) -> _State | None:
        """The state with `drop`, unless it is not allowed."""
        try:
            after = self._state(drop)
        except StaleError:
            return None
        return after if self._allowed(after) else None

    def _allowed(self, state: _State) -> bool:
        if self.limits.flops is None:
            return all(op.contract.cheap for op in state.graph.ops if op.phase == "recompute")
        return _work(state) <= self.limits.flops

    def _state(self, drop: frozenset[Tensor]) -> _State:
        graph = run_twice(self.graph, drop, self.copies)
        return _State(drop, graph, loads(graph, self.alignment))


@dataclass(frozen=True, slots=True)
class _Choice:
    """A tensor to make anew, and what goes with it."""

    tensor: Tensor
    drop: frozenset[Tensor]
    """The tensor, and operands that are made anew for its sake."""
    flops: int
    freed: int
    """Bytes: the tensor's, less those of operands held for it."""


def _work(state: _State) -> int:
    return sum(op.flops for op in state.graph.ops if op.phase == "recompute")


def _pure_makers(graph: StepGraph) -> dict[Tensor, list[Op]]:
    """The makers of what could be made anew: written by forward ops that change no state, by each
    as a whole or in a part of its own, and by no other op."""
    changed = {t.storage for op in graph.ops if op.phase != "forward" for t in op.writes}
    fixed = changed | {t.storage for t in graph.outputs}
    return {
        t: ops
        for t, ops in makers(graph).items()
        if t not in fixed
        and (len(ops) == 1 or all(not x.whole for op in ops for x in op.writes if x.storage is t))
        and not any(x.persistent for op in ops for x in op.writes)
    }


class _Uses:
    """When each tensor is used in the graph as it was."""

    def __init__(self, graph: StepGraph) -> None:
        self.last_forward: dict[Tensor, int] = {}
        self.first_backward: dict[Tensor, int] = {}
        self.last: dict[Tensor, int] = {}
        for i, op in enumerate(graph.ops):
            for t in op.touched:
                self.last[t] = i
                if op.phase == "forward":
                    self.last_forward[t] = i
                else:
                    self.first_backward.setdefault(t, i)

    def kept_across(self, position: int) -> list[Tensor]:
        """Tensors idle at `position`: used before in the forward pass, and after in backward."""
        return [
            t
            for t, first in self.first_backward.items()
            if self.last_forward.get(t, position) < position < first
        ]
