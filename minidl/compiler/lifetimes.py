"""When each tensor's bytes must hold: from the first op that touches it to the last; what is given
from op 0, variables and outputs to the end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from minidl.ir import Op, StepGraph, Tensor


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Half-open range of schedule positions."""

    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first < other.last and other.first < self.last


def lifetimes(graph: StepGraph) -> dict[Tensor, Lifetime]:
    """The lifetime of every tensor that owns bytes; views count as uses of what they view."""
    first, last = _spans(graph)
    return {t: Lifetime(first[t], last[t]) for t in first}


def _spans(graph: StepGraph) -> tuple[dict[Tensor, int], dict[Tensor, int]]:
    """By what owns bytes: where it begins, and where it has ended."""
    end = len(graph.ops)
    first: dict[Tensor, int] = dict.fromkeys(_given(graph), 0)
    last: dict[Tensor, int] = dict.fromkeys(first, 1)
    for i, op in enumerate(graph.ops):
        for t in op.touched:
            last[t] = i + 1
            if t not in first:
                first[t] = i
    for t in (*graph.outputs, *(t for t in first if t.persistent)):
        last[t.storage] = end
    if graph.outputs[0].size == 1:  # a lone scalar that begins late only splits larger gaps
        first[graph.outputs[0].storage] = 0
    return first, last


def _given(graph: StepGraph) -> list[Tensor]:
    """What holds bytes before op 0: variables first, so that they lie at the arena's start."""
    return [*(v.tensor for v in graph.variables), *graph.waiting, *graph.inputs]


def overwrites(op: Op, index: int, alive: dict[Tensor, Lifetime]) -> list[tuple[Tensor, Tensor]]:
    """The (written, read) pairs that `op` at `index` may put on the same bytes: the op must allow
    it, the written tensor must begin here and the read one die here."""
    return [
        (new, old)
        for new, old in op.may_overwrite
        if alive[old].last == index + 1 and alive[new].first == index
    ]


def loads(graph: StepGraph, alignment: int) -> list[int]:
    """Bytes live while each op runs, sizes rounded up to `alignment`; where an op may write over
    what it reads last, the two count once."""
    first, last = _spans(graph)
    change = [0] * (len(graph.ops) + 1)
    for t, begin in first.items():
        size = -(-t.nbytes // alignment) * alignment
        change[begin] += size
        change[last[t]] -= size
    load = list(accumulate(change[:-1]))
    for i, op in enumerate(graph.ops):
        taken: list[Tensor] = []
        for new, old in op.may_overwrite:
            if last[old] == i + 1 and first[new] == i and new not in taken and old not in taken:
                load[i] -= -(-new.nbytes // alignment) * alignment
                taken += new, old
    return load
