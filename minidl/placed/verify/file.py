"""check_file: the proof of `verify`, from a plan file alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from minidl.ir import PlanError
from minidl.placed.verify import check
from minidl.placed.verify.rows import OpRow, Table, TensorRow, roots

FORMATS = (1, 2)
PERSISTENT = ("parameter", "state")
GIVEN = (*PERSISTENT, "input")
PHASES = ("forward", "dgrad", "wgrad", "update", "other")

Value = TypeVar("Value")


def check_file(data: dict[str, Any]) -> None:
    """PlanError unless `data`, the parsed JSON of docs/plan_file.md, is a right plan.

    The optional keys `outputs` (ids that must hold after the last op), `guard` (bytes kept free
    behind every tensor) and `card` are read where they are present.
    """
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
    """No order can need more than this one does."""
    bound = _take(data, "order_lower_bound_bytes", int, "plan file")
    if bound > table.max_load_bytes:
        raise PlanError(
            f"order_lower_bound_bytes is {bound}, more than max_load_bytes, {table.max_load_bytes}"
        )


def _check_card(data: Mapping[str, Any]) -> None:
    """A plan for cuda names the GPU that it is for, one for the cpu none."""
    card = data.get("card")
    if card is None:
        return
    if not isinstance(card, dict) or data.get("device") != "cuda":
        raise PlanError(f"plan file: 'card' of a plan for {data.get('device')!r} is {card!r}")
    for key in ("name", "architecture"):
        _take(card, key, str, "card")
    memory, kept = (_take(card, key, int, "card") for key in ("memory_bytes", "kept_bytes"))
    if not 0 <= kept <= memory or _take(card, "multiprocessors", int, "card") < 1:
        raise PlanError(f"card {card['name']!r} keeps {kept} of {memory} bytes, or has no units")


def _take(entry: Mapping[str, Any], key: str, kind: type[Value], where: str) -> Value:
    """The value under `key`, or PlanError if there is none of that type."""
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PlanError(f"{where}: {key!r} must be {kind.__name__}, got {value!r}")
    return value


def _entries(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries: list[Any] = _take(data, key, list, "plan file")
    for k, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise PlanError(f"plan file: {key}[{k}] must be an object, got {entry!r}")
    return entries


def _numbered(entries: Sequence[Mapping[str, Any]]) -> dict[int | str, int]:
    """The row of each id."""
    row: dict[int | str, int] = {}
    for k, entry in enumerate(entries):
        identity = entry.get("id")
        if not isinstance(identity, (int, str)) or identity in row:
            raise PlanError(f"plan file: tensors[{k}] needs an id of its own, got {identity!r}")
        row[identity] = k
    return row


def _row(identity: object, row: Mapping[int | str, int], where: str) -> int:
    if not isinstance(identity, (int, str)) or identity not in row:
        raise PlanError(f"{where} names tensor {identity!r}, which is not listed")
    return row[identity]


def _rows(
    entry: Mapping[str, Any], key: str, row: Mapping[int | str, int], where: str
) -> tuple[int, ...]:
    found: list[Any] = _take(entry, key, list, where)
    return tuple(_row(identity, row, f"{where}: {key!r}") for identity in found)


def _tensor_rows(
    entries: Sequence[Mapping[str, Any]], row: Mapping[int | str, int]
) -> list[TensorRow]:
    names = [_take(e, "name", str, f"tensors[{k}]") for k, e in enumerate(entries)]
    kinds = [_take(e, "kind", str, f"tensor {n!r}") for n, e in zip(names, entries, strict=True)]
    view_of: list[int | None] = []
    for name, entry in zip(names, entries, strict=True):
        base = entry.get("view_of")
        view_of.append(None if base is None else _row(base, row, f"view {name!r}"))
    rows = []
    for k, root in enumerate(roots(names, view_of)):
        entry, where, owner = entries[k], f"tensor {names[k]!r}", kinds[root]
        _check_size(entry, where)
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
                shape=tuple(entry["shape"]),
                box=_box(entry, where),
            )
        )
    return rows


def _check_size(entry: Mapping[str, Any], where: str) -> None:
    """`bytes` is what shape and dtype say; the bits of an item stand at the end of its dtype."""
    shape: list[Any] = _take(entry, "shape", list, where)
    dtype = _take(entry, "dtype", str, where)
    bits = re.search(r"\d+$", "uint8" if dtype == "bool" else dtype)
    if bits is None or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise PlanError(f"{where}: shape {shape} or dtype {dtype!r} is not known")
    size = math.prod(shape) * int(bits[0]) // 8
    if entry["bytes"] != size:
        raise PlanError(f"{where}: {shape} {dtype} has {size} bytes, not {entry['bytes']}")


def _box(entry: Mapping[str, Any], where: str) -> tuple[tuple[int, int], ...] | None:
    """The part of what it views that a tensor is: a list of [low, high), one for each axis."""
    box = entry.get("box")
    if box is None:
        return None
    pairs = isinstance(box, list) and all(
        isinstance(axis, list) and len(axis) == 2 and all(isinstance(n, int) for n in axis)
        for axis in box
    )
    if not pairs or entry.get("view_of") is None:
        raise PlanError(f"{where}: box {box!r} must be [low, high] for each axis of a view")
    return tuple((low, high) for low, high in box)


def _op_row(position: int, entry: Mapping[str, Any], row: Mapping[int | str, int]) -> OpRow:
    name = _take(entry, "name", str, f"ops[{position}]")
    where = f"op {position} {name!r}"
    if _take(entry, "index", int, where) != position:
        raise PlanError(f"{where}: its index is {entry['index']}; ops stand in their order")
    phase = _take(entry, "phase", str, where)
    if phase not in PHASES:
        raise PlanError(f"{where}: phase {phase!r} is none of {', '.join(PHASES)}")
    reads, writes = (_rows(entry, key, row, where) for key in ("reads", "writes"))
    pairs: list[Any] = _take(entry, "in_place", list, where)
    return OpRow(name, phase, reads, writes, _in_place(pairs, reads, writes, row, where))


def _in_place(
    pairs: list[Any],
    reads: tuple[int, ...],
    writes: tuple[int, ...],
    row: Mapping[int | str, int],
    where: str,
) -> frozenset[tuple[int, int]]:
    found = set()
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise PlanError(f"{where}: in_place lists {pair!r}, not [write id, read id]")
        write, read = (_row(identity, row, f"{where}: 'in_place'") for identity in pair)
        if write not in writes or read not in reads:
            raise PlanError(f"{where}: in_place lists {pair!r}, which it does not write and read")
        found.add((write, read))
    return frozenset(found)
