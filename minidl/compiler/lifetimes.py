"""When each tensor's bytes must hold, from what ops read and write and from nothing else."""

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
    return {t: Lifetime(first[t], last[t]) for t in first}


def _given(graph: StepGraph) -> list[Tensor]:
    """What holds bytes before op 0: variables first, so that they lie at the arena's start."""
    return [*(v.tensor for v in graph.variables), *graph.waiting, *graph.inputs]


def overwrites(op: Op, index: int, alive: dict[Tensor, Lifetime]) -> list[tuple[Tensor, Tensor]]:
    """The (written, read) pairs that `op` at `index` may put on the same bytes.

    The op must allow it, the read tensor must die here, be read once here, and be large enough;
    both must be all of the bytes that they lie in.
    """
    reads = [t.storage for t in op.reads]
    pairs = []
    for k, j in op.in_place:
        new, old = op.writes[k].storage, reads[j]
        dies = not old.persistent and alive[old].last == index + 1
        if (
            dies
            and alive[new].first == index
            and reads.count(old) == 1
            and op.writes[k].whole
            and op.reads[j].whole
            and new.nbytes <= old.nbytes
        ):
            pairs.append((new, old))
    return pairs


def loads(graph: StepGraph, alignment: int) -> list[int]:
    """Bytes live while each op runs, sizes rounded up to `alignment`; where an op may write over
    what it reads last, the two count once."""
    alive = lifetimes(graph)
    size = {t: -(-t.nbytes // alignment) * alignment for t in alive}
    change = [0] * (len(graph.ops) + 1)
    for t, life in alive.items():
        change[life.first] += size[t]
        change[life.last] -= size[t]
    load = list(accumulate(change[:-1]))
    for i, op in enumerate(graph.ops):
        if op.in_place:
            taken: set[Tensor] = set()
            for new, old in overwrites(op, i, alive):
                if not taken & {new, old}:
                    load[i] -= size[new]
                    taken |= {new, old}
    return load
