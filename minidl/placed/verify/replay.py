"""What happens: the ops in their order, and who wrote each byte of the arena last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.ir import PlanError
from minidl.placed.verify.rows import OpRow, Table, TensorRow, shared

NOBODY = -1
BEFORE = -1
"""The op that wrote what was given before op 0."""

STEP_PHASES = ("forward", "recompute", "dgrad", "wgrad")
"""Phases whose ops want states as they were before the step's update."""


def check_sharing(table: Table) -> None:
    """Within an op no write shares a byte with another operand.

    But a tensor that is read and written, and a declared in-place pair: both begin at one byte,
    and no more is written than was read.
    """
    for i, op in enumerate(table.ops):
        for k, write in enumerate(op.writes):
            w = table.tensors[write]
            for other in op.writes[:k]:
                if other == write or shared(w, table.tensors[other]):
                    raise PlanError(f"{table.op(i)} writes {_both(w, table.tensors[other])}")
            for read in op.reads:
                if read != write and shared(w, table.tensors[read]):
                    _check_pair(table, i, write, read)


def _check_pair(table: Table, index: int, write: int, read: int) -> None:
    w, r = table.tensors[write], table.tensors[read]
    if (write, read) not in table.ops[index].in_place:
        raise PlanError(
            f"{table.op(index)} writes over what it reads, {_both(w, r)}, "
            "but its in_place does not list the pair"
        )
    if w.offset != r.offset:
        raise PlanError(
            f"{table.op(index)} writes in place over part of what it reads, {_both(w, r)}: "
            f"they begin at bytes {w.offset} and {r.offset}"
        )
    if w.nbytes > r.nbytes:
        raise PlanError(
            f"{table.op(index)} writes in place more than it reads, {_both(w, r)}: "
            f"{w.nbytes} bytes over {r.nbytes}"
        )


def _both(a: TensorRow, b: TensorRow) -> str:
    start, end = shared(a, b) or (a.offset, a.end)
    return f"{a} and {b} in bytes [{start}, {end})"


class Stretch(NamedTuple):
    """Bytes with one owner, written by one op."""

    start: int
    end: int
    owner: int
    writer: int


class Bytes:
    """The last writer of every byte; bytes between two neighbouring bounds share their fate."""

    def __init__(self, tensors: Sequence[TensorRow]) -> None:
        self.bounds = sorted({bound for t in tensors for bound in (t.offset, t.end)})
        part = {bound: k for k, bound in enumerate(self.bounds)}
        # a box of a tensor may lie in it with gaps: it stands for all of that tensor's bytes
        wide = [t if t.box is None else tensors[t.root] for t in tensors]
        self.parts = [slice(part[t.offset], part[t.end]) for t in wide]
        self.roots = [t.root for t in tensors]
        self.owner = np.full(len(self.bounds), NOBODY, np.int64)
        self.writer = np.full(len(self.bounds), BEFORE, np.int64)

    def write(self, row: int, op: int) -> None:
        self.owner[self.parts[row]] = self.roots[row]
        self.writer[self.parts[row]] = op

    def foreign(self, row: int) -> Stretch | None:
        """The first bytes of the tensor that it does not own."""
        wrong = self.owner[self.parts[row]] != self.roots[row]
        if not wrong.any():
            return None
        part = self.parts[row].start + int(wrong.argmax())
        owner, writer = int(self.owner[part]), int(self.writer[part])
        stop = part + 1
        while stop < self.parts[row].stop and self.owner[stop] == owner:
            stop += 1
        return Stretch(self.bounds[part], self.bounds[stop], owner, writer)


def check_replay(table: Table) -> None:
    """Every byte that is read was written last by the tensor it is read as.

    So at each read of each op, and after the last op for persistent tensors and outputs.
    """
    arena = Bytes(table.tensors)
    for row, t in enumerate(table.tensors):
        if t.given and t.root == row:
            arena.write(row, BEFORE)
    for i, op in enumerate(table.ops):
        for row in op.reads:
            if lost := arena.foreign(row):
                raise PlanError(f"{table.op(i)} reads {_finding(table, row, lost, i)}")
        for row in op.writes:
            arena.write(row, i)
    kept = [row for row, t in enumerate(table.tensors) if t.persistent and t.root == row]
    for row in (*kept, *table.outputs):
        if lost := arena.foreign(row):
            what = _finding(table, row, lost, len(table.ops))
            raise PlanError(f"the end of the step needs {what}")


def _finding(table: Table, row: int, lost: Stretch, now: int) -> str:
    """The tensor, its lost bytes, and who holds them."""
    t = table.tensors[row]
    text = f"{t} in bytes [{lost.start}, {lost.end}), "
    if not t.given and not any(_writes(table, op, t.root) for op in table.ops[:now]):
        text += "which no op before has written"
        return text if lost.owner == NOBODY else f"{text}: they hold {table.tensors[lost.owner]}"
    if lost.owner == NOBODY:
        return text + "a part which no op before has written"
    owner = f"they hold {table.tensors[lost.owner]}"
    if lost.writer == BEFORE:
        return f"{text}but {owner}, given before op 0"
    place = ", in place" if _in_place(table, lost, t.root) else ""
    return f"{text}but {owner}, which {table.op(lost.writer)} wrote there{place}"


def _writes(table: Table, op: OpRow, root: int) -> bool:
    return any(table.tensors[row].root == root for row in op.writes)


def _in_place(table: Table, lost: Stretch, root: int) -> bool:
    pairs = table.ops[lost.writer].in_place
    owners = {(table.tensors[w].root, table.tensors[r].root) for w, r in pairs}
    return (lost.owner, root) in owners


def check_update_order(table: Table) -> None:
    """The step computes with what it began with, the update with what the step has found.

    Ops that only read a parameter come before its update, which may be a wgrad op's epilogue, and
    those that only read what an "other" op writes (the step counter) come before that. A state that
    an update writes is read before by forward, dgrad and wgrad ops, and after by update ops (the
    momentum). An op of the phase "other" may read what it likes.
    """
    updated: dict[int, int] = {}
    consumed: dict[int, int] = {}
    for i, op in enumerate(table.ops):
        written = {table.tensors[row].root for row in op.writes}
        only_read = {table.tensors[row].root for row in op.reads} - written
        stale = {
            root for root in only_read & updated.keys() if _wants_old(table, op, root, updated)
        }
        _check_in_time(table, i, stale, updated, "reads", "has updated")
        if op.phase != "other":
            _check_in_time(table, i, written & consumed.keys(), consumed, "writes", "has used")
        updated |= {root: i for root in written if _is_update(op, table.tensors[root])}
        if op.phase == "update":
            consumed |= {root: i for root in only_read if table.tensors[root].kind == "state"}


def check_repeated(table: Table) -> None:
    """What changes a parameter or a state runs once on the same operands."""
    seen: dict[tuple[str, tuple[int, ...], tuple[int, ...]], int] = {}
    for i, op in enumerate(table.ops):
        changed = [row for row in op.writes if table.tensors[row].persistent]
        if not changed:
            continue
        before = seen.setdefault((op.name, op.reads, op.writes), i)
        if before != i:
            raise PlanError(
                f"{table.op(i)} changes {table.tensors[changed[0]]} as op {before} has done, on "
                "the same operands"
            )


def _wants_old(table: Table, op: OpRow, root: int, updated: dict[int, int]) -> bool:
    at_the_end = table.ops[updated[root]].phase == "other"
    if op.phase == "update":
        return at_the_end or table.tensors[root].kind == "parameter"
    return op.phase in STEP_PHASES


def _is_update(op: OpRow, t: TensorRow) -> bool:
    return t.kind == "parameter" or (t.persistent and op.phase in ("update", "other"))


def _check_in_time(
    table: Table, index: int, late: set[int], done: dict[int, int], verb: str, has: str
) -> None:
    for root in late:
        raise PlanError(
            f"{table.op(index)} {verb} {table.tensors[root]} too late: "
            f"{table.op(done[root])} {has} it before"
        )
