"""Changes of a valid file that readers must take: of bytes anywhere, and of values in a tree."""

from __future__ import annotations

import copy
import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

NUMBERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
NEAR = 300
"""Half of all changes are this near to the front or the end, where headers and directories are."""

Random = random.Random


def changed(raw: bytes, rng: Random) -> bytes:
    """A copy with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        raw = rng.choice(CHANGES)(raw, rng)
    return raw


def _place(raw: bytes, rng: Random) -> int:
    at = rng.randrange(len(raw) + 1)
    if rng.random() < 0.5:
        at = min(at, rng.randrange(NEAR))
        at = at if rng.random() < 0.7 else max(0, len(raw) - at)
    return at


def _flip(raw: bytes, rng: Random) -> bytes:
    made = bytearray(raw)
    for _ in range(rng.randint(1, 8) if raw else 0):
        at = min(_place(raw, rng), len(raw) - 1)
        made[at] ^= 1 << rng.randrange(8)
    return bytes(made)


def _cut(raw: bytes, rng: Random) -> bytes:
    return raw[: _place(raw, rng)]


def _drop(raw: bytes, rng: Random) -> bytes:
    at = _place(raw, rng)
    return raw[:at] + raw[at + rng.choice((1, 4, 64, 512)) :]


def _double(raw: bytes, rng: Random) -> bytes:
    at, size = _place(raw, rng), rng.choice((1, 4, 64, 512))
    return raw[:at] + raw[at : at + size] * rng.choice((2, 2, 100)) + raw[at + size :]


def _splice(raw: bytes, rng: Random) -> bytes:
    to, of, size = _place(raw, rng), _place(raw, rng), rng.choice((1, 4, 64, 512))
    block = raw[of : of + size]
    return raw[:to] + block + raw[to + len(block) * rng.randint(0, 1) :]


def _number(raw: bytes, rng: Random) -> bytes:
    """A number that a size could be, in any width and order, in the place of what was there."""
    at, width, value = _place(raw, rng), rng.choice(tuple(WIDTHS)), rng.choice(NUMBERS)
    value = value % 256**width if rng.random() < 0.8 else 256**width - 1
    packed = struct.pack(rng.choice("<>") + WIDTHS[width], value)
    return raw[:at] + packed + raw[at + width :]


def _digits(raw: bytes, rng: Random) -> bytes:
    """Another number where one is written out."""
    found = list(re.finditer(rb"-?\d+", raw[: 20 * NEAR]))
    if not found:
        return raw
    where = rng.choice(found)
    other = rng.choice((b"-1", b"0", b"99999999999999999999", b"7" * 12, b"1e999", b"9" * 5000))
    if rng.random() < 0.5:
        other = other[: len(where[0])].rjust(len(where[0]), b"0")
    return raw[: where.start()] + other + raw[where.end() :]


def _noise(raw: bytes, rng: Random) -> bytes:
    at = _place(raw, rng)
    return raw[:at] + rng.randbytes(rng.choice((1, 8, 200))) + raw[at:]


def _brackets(raw: bytes, rng: Random) -> bytes:
    at = _place(raw, rng)
    return raw[:at] + rng.choice((b"[", b"(", b"{", b"-", b'{"a":', b"\0")) * 3000 + raw[at:]


CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip, _cut, _drop, _double, _splice, _number, _number, _digits, _noise, _brackets,
)  # fmt: skip

# -- of a tree -------------------------------------------------------------------------------------

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**53 + 1, 2**62, 2**63 - 1, 2**63, -(2**70), 10**4000,
    0.5, 1e308, float("nan"), float("inf"), "", "x", "banana32", "\ud800", "n" * 3000, "9" * 30,
    [], {}, [[]], [None], {"": 0}, [0] * 40, [[1, 2]] * 3, {"a": {"b": [1]}},
)  # fmt: skip


def _hostile(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(HOSTILE))


def changed_tree(raw: bytes, rng: Random) -> bytes:
    """JSON with one to three of its values changed, doubled or gone."""
    tree = json.loads(raw)
    for _ in range(rng.randint(1, 3)):
        _change(tree, rng)
    return json.dumps(tree).encode()


def _change(tree: Any, rng: Random) -> None:
    """At a place that is found by walking down from the root."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(tree[key], (list, dict)) and tree[key] and rng.random() < 0.8:
            tree = tree[key]
            continue
        kind = rng.randrange(5)
        if kind == 0:
            del tree[key]
        elif kind == 1:
            tree[key] = copy.deepcopy(tree[rng.choice(keys)])
        elif kind == 2 and isinstance(tree, dict):
            tree[rng.choice(("odd", "", str(key) + "s"))] = _hostile(rng)
        elif kind == 2:
            tree.insert(key, _hostile(rng))
        else:
            tree[key] = _hostile(rng)
        return
