"""check_file: the proof of `verify`, from a plan file alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from minidl.files.fields import seen, take
from minidl.files.words import is_shape, shown
from minidl.ir import ArgumentError, PlanError
from minidl.ir.tensor import Box
from minidl.placed.verify import check
from minidl.placed.verify.rows import OpRow, Table, TensorRow, roots

FORMATS = (1, 2)
BITS = {
    "bool": 8, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64,
    "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64,
}  # fmt: skip
"""Of an element, by its dtype."""
PERSISTENT = ("parameter", "state")
GIVEN = (*PERSISTENT, "input")
PHASES = ("forward", "recompute", "dgrad", "wgrad", "update", "other")

Entry = Mapping[str, Any]
Identity = int | str


def check_file(data: dict[str, Any]) -> None:
    """PlanError unless `data`, the parsed JSON of docs/plan_file.md, is a right plan.

    The optional keys `outputs` (ids that must hold after the last op), `guard` (bytes kept free
    behind every tensor) and `card` are read where they are present.
    """
    data = _as(dict[str, Any], data, "plan file")
    if _take(data, "format", int, "plan file") not in FORMATS:
        raise PlanError(f"plan file has format {data['format']}; this reads formats 1 and 2")
    entries = _entries(data, "tensors")
    row = _numbered(entries)
    table = Table(
        tensors=_tensor_rows(entries, row),
        ops=[_op_row(i, entry, row) for i, entry in enumerate(_entries(data, "ops"))],
        outputs=_rows(data, "outputs", row, "plan file") if "outputs" in data else (),
        guard=_take(data, "guard", int, "plan file") if "guard" in data else 0,
        alignment=_take(data, "alignment", int, "plan file"),
        arena_bytes=_take(data, "arena_bytes", int, "plan file"),
        max_load_bytes=_take(data, "max_load_bytes", int, "plan file"),
    )
    check(table)
    _check_lower_bound(data, table)
    _check_card(data)


def _check_lower_bound(data: Mapping[str, Any], table: Table) -> None:
    """No order can need more than this one does, and no placement more than this one."""
    bound = _take(data, "order_lower_bound_bytes", int, "plan file")
    if bound > table.max_load_bytes:
        raise PlanError(
            f"order_lower_bound_bytes is {bound}, more than max_load_bytes, {table.max_load_bytes}"
        )
    if "placement_lower_bound_bytes" not in data:
        return  # of an older version
    bound = _take(data, "placement_lower_bound_bytes", int, "plan file")
    if bound > table.arena_bytes:
        raise PlanError(
            f"placement_lower_bound_bytes is {bound}, more than arena_bytes, {table.arena_bytes}"
        )


def _check_card(data: Mapping[str, Any]) -> None:
    """A plan for a GPU says which."""
    card = data.get("card")
    if card is None:
        return
    device = _take(data, "device", str, "plan file")
    if not isinstance(card, dict):
        raise PlanError(f"plan file: 'card' of a plan for {shown(device)} is {seen(card)}")
    for key in ("name", "architecture"):
        _take(card, key, str, "card")
    memory, kept = (_take(card, key, int, "card") for key in ("memory_bytes", "kept_bytes"))
    if not 0 <= kept <= memory or _take(card, "multiprocessors", int, "card") < 1:
        raise PlanError(
            f"card {shown(card['name'])} keeps {kept} of {memory} bytes, or has no units"
        )


def _take(entry: Entry, key: str, kind: Any, where: str) -> Any:
    """The value under `key`, or PlanError if there is none of that type."""
    return _as(kind, entry.get(key), f"{where}: {key!r}")


def _as(kind: Any, value: Any, where: str) -> Any:
    try:
        return take(kind, value, where)
    except ArgumentError as error:
        raise PlanError(error.message) from None


def _entries(data: Entry, key: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = _take(data, key, list[dict[str, Any]], "plan file")
    return entries


def _numbered(entries: Sequence[Mapping[str, Any]]) -> dict[int | str, int]:
    """The row of each id."""
    row: dict[int | str, int] = {}
    for k, entry in enumerate(entries):
        identity = _take(entry, "id", Identity, f"plan file: tensors[{k}]")
        if identity in row:
            raise PlanError(f"plan file: tensors[{k}] needs an id of its own, got {seen(identity)}")
        row[identity] = k
    return row


def _row(identity: object, row: Mapping[int | str, int], where: str) -> int:
    if type(identity) not in (int, str) or identity not in row:
        raise PlanError(f"{where} names tensor {seen(identity)}, which is not listed")
    return row[identity]  # type: ignore[index]


def _rows(
    entry: Mapping[str, Any], key: str, row: Mapping[int | str, int], where: str
) -> tuple[int, ...]:
    found = _take(entry, key, list[Any], where)
    return tuple(_row(identity, row, f"{where}: {key!r}") for identity in found)


def _tensor_rows(
    entries: Sequence[Mapping[str, Any]], row: Mapping[int | str, int]
) -> list[TensorRow]:
    names = [_take(e, "name", str, f"tensors[{k}]") for k, e in enumerate(entries)]
    called = [f"tensor {shown(name)}" for name in names]
    kinds = [_take(e, "kind", str, n) for n, e in zip(called, entries, strict=True)]
    shapes = [_shape(e, n) for n, e in zip(called, entries, strict=True)]
    view_of: list[int | None] = []
    for name, entry in zip(names, entries, strict=True):
        base = entry.get("view_of")
        view_of.append(None if base is None else _row(base, row, f"view {shown(name)}"))
    rows = []
    for k, root in enumerate(roots(names, view_of)):
        entry, where, owner = entries[k], called[k], kinds[root]
        rows.append(
            TensorRow(
                name=names[k],
                kind=kinds[k],
                nbytes=_take(entry, "bytes", int, where),
                offset=_take(entry, "offset", int, where),
                first=_take(entry, "first", int, where),
                last=_take(entry, "last", int, where),
                root=root,
                given=owner in GIVEN,
                persistent=owner in PERSISTENT,
                shape=shapes[k],
                box=_box(entry, len(shapes[root]), where),
            )
        )
    return rows


def _shape(entry: Entry, where: str) -> tuple[int, ...]:
    """The shape, which with the dtype says `bytes`."""
    shape: tuple[int, ...] = _take(entry, "shape", tuple[int, ...], where)
    dtype, nbytes = _take(entry, "dtype", str, where), _take(entry, "bytes", int, where)
    if dtype not in BITS or not is_shape(shape, BITS[dtype] // 8):
        raise PlanError(f"{where}: shape {list(shape)[:9]} or dtype {shown(dtype)} is not known")
    size = math.prod(shape) * BITS[dtype] // 8
    if nbytes != size:
        raise PlanError(f"{where}: {list(shape)} {dtype} has {size} bytes, not {nbytes}")
    return shape


def _box(entry: Entry, axes: int, where: str) -> Box | None:
    """The part of what it views that a tensor is: a list of [low, high), one for each axis."""
    box: Box | None = _take(entry, "box", tuple[tuple[int, int], ...] | None, where)
    if box is not None and (len(box) != axes or entry.get("view_of") is None):
        raise PlanError(f"{where}: box must be [low, high] for each of {axes} axes of a view")
    return box


def _op_row(position: int, entry: Mapping[str, Any], row: Mapping[int | str, int]) -> OpRow:
    name = _take(entry, "name", str, f"ops[{position}]")
    where = f"op {position} {shown(name)}"
    if _take(entry, "index", int, where) != position:
        raise PlanError(f"{where}: its index is {entry['index']}; ops stand in their order")
    phase = _take(entry, "phase", str, where)
    if phase not in PHASES:
        raise PlanError(f"{where}: phase {shown(phase)} is none of {', '.join(PHASES)}")
    reads, writes = (_rows(entry, key, row, where) for key in ("reads", "writes"))
    pairs = _take(entry, "in_place", list[tuple[Identity, Identity]], where)
    return OpRow(name, phase, reads, writes, _in_place(pairs, reads, writes, row, where))


def _in_place(
    pairs: list[tuple[Identity, Identity]],
    reads: tuple[int, ...],
    writes: tuple[int, ...],
    row: Mapping[int | str, int],
    where: str,
) -> frozenset[tuple[int, int]]:
    found = set()
    for pair in pairs:
        write, read = (_row(identity, row, f"{where}: 'in_place'") for identity in pair)
        if write not in writes or read not in reads:
            raise PlanError(
                f"{where}: in_place lists {list(pair)!r}, which it does not write and read"
            )
        found.add((write, read))
    return frozenset(found)
