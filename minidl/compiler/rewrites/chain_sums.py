"""Sums of several gradients, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from minidl.ir import Op, StepGraph
from minidl.ops.sums import gradient_sum


def chain_sums(graph: StepGraph) -> StepGraph:
    """Make a sum of more than two parts a chain of sums of two, from left to right: the same bits.

    Each stands right behind the op that makes its later part, so that a part dies as soon as it is
    added, and may be overwritten by the sum.
    """
    behind: dict[int, list[Op]] = {}
    position = {t.storage: i for i, op in enumerate(graph.ops) for t in op.writes}
    for i, op in enumerate(graph.ops):
        if op.function is not gradient_sum or len(op.reads) < 3:
            behind.setdefault(i, []).append(op)
            continue
        place = 0
        for link in _links(op):
            ready = (position[t.storage] for t in link.reads if t.storage in position)
            place = i if link.writes == op.writes else max(place, *ready)
            behind.setdefault(place, []).append(link)
    return replace(graph, ops=tuple(op for i in sorted(behind) for op in behind[i]))


def _links(op: Op) -> Iterator[Op]:
    """The sums of two: total = first + second, then total + third, and so on."""
    (total,) = op.writes
    first = op.reads[0]
    flops = total.size
    for k, part in enumerate(op.reads[1:], start=1):
        last = k == len(op.reads) - 1
        result = total if last else replace(total, name=f"{total.name}.{k}", view_of=None)
        pairs = ((0, 0), (0, 1))
        yield replace(op, writes=(result,), reads=(first, part), in_place=pairs, flops=flops)
        first = result
