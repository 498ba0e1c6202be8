"""Units: forward ops that can only run a second time together, and what they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from minidl.ir import Op, StepGraph, Tensor


@dataclass(frozen=True, eq=False)
class Unit:
    """Forward ops that write the same tensors, or parts of the same; most are of one op."""

    ops: tuple[Op, ...]
    """In the order of the graph."""
    pure: bool
    """Whether they may run a second time: what they made is nobody's state or result, and nobody
    changes it later."""

    @cached_property
    def writes(self) -> tuple[Tensor, ...]:
        """What owns the bytes that they write, each once."""
        return tuple(dict.fromkeys(t.storage for op in self.ops for t in op.writes))

    @cached_property
    def reads(self) -> tuple[Tensor, ...]:
        """What owns the bytes that they read and others wrote, each once."""
        own = set(self.writes)
        found = dict.fromkeys(t.storage for op in self.ops for t in op.reads)
        return tuple(t for t in found if t not in own)

    @cached_property
    def flops(self) -> int:
        return sum(op.flops for op in self.ops)

    @cached_property
    def cheap(self) -> bool:
        """Whether each of them costs an elementwise pass."""
        return all(op.contract.cheap for op in self.ops)


def units(graph: StepGraph) -> list[Unit]:
    """The forward ops of `graph` as units, in the order of their first ops."""
    forward = [op for op in graph.ops if op.phase == "forward"]
    unit_of: dict[Tensor, list[Op]] = {}
    groups: dict[int, list[Op]] = {}
    for op in forward:
        group = [op]
        for t in dict.fromkeys(t.storage for t in op.writes):
            before = unit_of.get(t)
            if before is not None and before is not group:
                group = _joined(before, group, unit_of, groups)
            unit_of[t] = group
        groups[id(group)] = group
    changed = {t.storage for op in graph.ops if op.phase != "forward" for t in op.writes}
    fixed = changed.union(t.storage for t in graph.outputs)
    place = {op: i for i, op in enumerate(forward)}
    found = [Unit(tuple(ops), _pure(ops, fixed)) for ops in groups.values()]
    return sorted(found, key=lambda unit: place[unit.ops[0]])


def _joined(
    before: list[Op], group: list[Op], unit_of: dict[Tensor, list[Op]], groups: dict[int, list[Op]]
) -> list[Op]:
    """Both as one group; `group` is the later one."""
    groups.pop(id(group), None)
    before.extend(op for op in group if op not in before)
    for t, ops in unit_of.items():
        if ops is group:
            unit_of[t] = before
    return before


def _pure(ops: list[Op], fixed: set[Tensor]) -> bool:
    """Whether what the ops write is theirs alone: each tensor by one op, or each part by one."""
    writers: dict[Tensor, list[bool]] = {}
    for op in ops:
        for t in op.writes:
            writers.setdefault(t.storage, []).append(t.whole)
    return all(
        not t.persistent and t not in fixed and (len(whole) == 1 or not any(whole))
        for t, whole in writers.items()
    )
