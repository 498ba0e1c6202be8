"""What is declared: placements within the arena, lifetimes that cover every use, the load."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from minidl.ir import PlanError
from minidl.placed.verify.rows import Table, TensorRow, handovers, shared


def check_placements(table: Table) -> None:
    """Every tensor lies aligned within the arena, a view within its root; lifetimes are ranges."""
    if table.alignment < 1 or table.guard < 0:
        raise PlanError(f"alignment {table.alignment} or guard {table.guard} is out of range")
    for row, t in enumerate(table.tensors):
        if t.root == row:
            _check_in_arena(table, t)
        else:
            _check_in_root(t, table.tensors[t.root])
        _check_lifetime(t, len(table.ops))


def _check_in_arena(table: Table, t: TensorRow) -> None:
    if t.nbytes < 0 or t.offset < 0 or t.end + table.guard > table.arena_bytes:
        guard = f" and a guard of {table.guard}" if table.guard else ""
        raise PlanError(
            f"{t} covers bytes [{t.offset}, {t.end}){guard}, "
            f"outside of the arena's {table.arena_bytes}"
        )
    if t.offset % table.alignment:
        raise PlanError(f"{t} lies at byte {t.offset}, not aligned to {table.alignment}")


def _check_in_root(t: TensorRow, root: TensorRow) -> None:
    if t.nbytes < 0 or not root.offset <= t.offset <= t.end <= root.end:
        raise PlanError(
            f"{t} covers bytes [{t.offset}, {t.end}), not within [{root.offset}, {root.end}) "
            f"of {root}, which it views"
        )
    if not root.first <= t.first <= t.last <= root.last:
        raise PlanError(
            f"{t} has lifetime [{t.first}, {t.last}), not within [{root.first}, {root.last}) "
            f"of {root}, which it views"
        )


def _check_lifetime(t: TensorRow, ops: int) -> None:
    if not 0 <= t.first < t.last <= ops:
        raise PlanError(f"{t} has lifetime [{t.first}, {t.last}), no range within [0, {ops})")
    if t.persistent and (t.first, t.last) != (0, ops):
        raise PlanError(f"{t} is persistent: its lifetime is [{t.first}, {t.last}), not [0, {ops})")
    if t.given and t.first != 0:
        raise PlanError(f"{t} is given before op 0, but its lifetime begins at {t.first}")


def check_uses(table: Table) -> None:
    """Every op that touches a tensor lies in its lifetime; outputs live to the end."""
    for i, op in enumerate(table.ops):
        for row in (*op.reads, *op.writes):
            t = table.tensors[row]
            if not t.first <= i < t.last:
                verb = "writes" if row in op.writes else "reads"
                raise PlanError(
                    f"{table.op(i)} {verb} {t} outside of its lifetime [{t.first}, {t.last})"
                )
    for row in table.outputs:
        root = table.tensors[table.tensors[row].root]
        if root.last != len(table.ops):
            raise PlanError(
                f"output {table.tensors[row]} must live to the end of the step, position "
                f"{len(table.ops)}; its lifetime ends at {root.last}"
            )


def check_overlaps(table: Table) -> None:
    """No two tensors that live at one position share a byte, but where one takes the other's place.

    Sorted by offset, the tensors that reach into a tensor's bytes are the next few.
    """
    placed = [row for row, t in enumerate(table.tensors) if t.root == row and t.nbytes]
    placed.sort(key=lambda row: table.tensors[row].offset)
    tensors = [table.tensors[row] for row in placed]
    start = np.array([t.offset for t in tensors], np.int64)
    first = np.array([t.first for t in tensors], np.int64)
    last = np.array([t.last for t in tensors], np.int64)
    allowed = {frozenset(pair[1:]) for pair in handovers(table)}
    for k, t in enumerate(tensors):
        reaching = slice(k + 1, int(np.searchsorted(start, t.end + table.guard)))
        alive = (first[reaching] < t.last) & (last[reaching] > t.first)
        for other in np.flatnonzero(alive) + k + 1:
            if frozenset((placed[k], placed[other])) not in allowed:
                raise PlanError(_overlap(table, t, tensors[other]))


def _overlap(table: Table, a: TensorRow, b: TensorRow) -> str:
    start, end = shared(a, b, table.guard) or (0, 0)
    position = max(a.first, b.first)
    guard = f" (with guards of {table.guard})" if table.guard else ""
    return (
        f"{a}, lifetime [{a.first}, {a.last}), and {b}, lifetime [{b.first}, {b.last}), share "
        f"bytes [{start}, {end}){guard} at {table.op(position)} without an in-place pair there"
    )


def check_load(table: Table) -> None:
    """`max_load_bytes` is the largest sum of live bytes at one op; the arena has as many."""
    load = loads(table)
    heaviest = max(range(len(load)), key=load.__getitem__, default=0)
    most = max(load, default=0)
    if table.max_load_bytes != most:
        where = f" at {table.op(heaviest)}" if load else ""
        raise PlanError(f"max_load_bytes is {table.max_load_bytes}, but {most} bytes live{where}")
    if table.arena_bytes < most:
        raise PlanError(
            f"arena_bytes is {table.arena_bytes}, less than the load of {most} bytes "
            f"at {table.op(heaviest)}"
        )


def loads(table: Table) -> list[int]:
    """Live bytes at each op: tensors with their guards, rounded up to the alignment; no views.

    At the op of a handover the two tensors count once, as the larger.
    """

    def rounded(row: int) -> int:
        size = table.tensors[row].nbytes + table.guard
        return -(-size // table.alignment) * table.alignment

    change = [0] * (len(table.ops) + 1)
    for row, t in enumerate(table.tensors):
        if t.root == row:
            change[t.first] += rounded(row)
            change[t.last] -= rounded(row)
    load = list(accumulate(change[:-1]))
    for pair in handovers(table):
        load[pair.op] -= min(rounded(pair.taker), rounded(pair.giver))
    return load
