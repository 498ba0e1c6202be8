"""What was counted in the kernels' machine code: instructions, wavefronts and registers of main
loops, kernels/resources/instructions.csv.

Its columns are `main loop`, `a` and `b` (C++ types: the first three arguments of `Gemm` in a
kernel's name), `architecture`, `registers` of a thread, `instructions` of a warp in one stage,
between the loop's label and its branch back, and `wavefronts` of shared memory of a block in one
stage, empty where nobody counted them. Further columns, such as instructions by kind, are not read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minidl.checkout import kernels_folder
from minidl.files.opening import read_text


@dataclass(frozen=True)
class Operand:
    """One side of a product: its source's C++ type, and how its elements lie in memory."""

    kind: str
    itemsize: int


@dataclass(frozen=True)
class MainLoop:
    """A product's main loop with its two sources: what is counted together."""

    unit: str
    kind: str
    """The C++ type, whole results."""
    m: int
    n: int
    k: int
    share: tuple[int, int]
    """What a thread (simt) or a warp owns of the tile."""
    threads: int
    a: Operand
    b: Operand

    @property
    def copied(self) -> int:
        """Bytes of both operands in one stage."""
        return self.k * (self.m * self.a.itemsize + self.n * self.b.itemsize)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.a.kind, self.b.kind

    @property
    def least_wavefronts(self) -> float:
        """Of a block in one stage without bank conflicts: each byte is written once and read once
        by every warp, or every 8 x 4 threads, that needs it."""
        down, across = self.share
        parts = self.m // down * (self.n // across) / (1 if self.unit != "simt" else 32)
        reads = parts * (down * self.a.itemsize + across * self.b.itemsize) * self.k
        return (reads + self.copied) / 128

    @property
    def least_instructions(self) -> float:
        """Of a warp in one stage: products, loads of fragments, and copies of 16 bytes with their
        addresses. Only the relation of two loops is used."""
        down, across = self.share
        copies = 36 * self.copied / 16 / self.threads
        if self.unit == "simt":
            return down * across * self.k + copies
        depth = 16 if self.unit == "bf16" else 8
        steps = self.k // depth
        products = down // 16 * (across // 8)
        loads = sum(
            size // 16 * (1 if operand.itemsize == 2 else 4)
            for size, operand in zip(self.share, (self.a, self.b), strict=True)
        )
        return steps * (products + loads) + copies


@dataclass(frozen=True)
class Count:
    """Of one main loop on one architecture."""

    instructions: float
    wavefronts: float
    registers: int
    estimated: bool = False
    """Made from the nearest main loop that was counted."""


@dataclass(frozen=True)
class _Row:
    key: tuple[str, str, str]
    architecture: str
    registers: int
    instructions: int
    wavefronts: int | None


class Counts:
    """The table, and what is estimated where it has no row."""

    def __init__(self, rows: tuple[_Row, ...]) -> None:
        self.rows = rows
        self.by_key = {(row.key, row.architecture): row for row in rows}
        self.known: dict[tuple[MainLoop, str], Count] = {}

    def of(self, loop: MainLoop, architecture: str) -> Count:
        """The main loop's row, or the nearest one's counts, scaled to its tile and operands."""
        what = loop, architecture
        if what not in self.known:
            self.known[what] = self._of(loop, architecture)
        return self.known[what]

    def _of(self, loop: MainLoop, architecture: str) -> Count:
        row = self.by_key.get((loop.key, architecture))
        if row is not None and row.wavefronts is not None:
            return Count(row.instructions, row.wavefronts, row.registers)
        near = max(self.rows, key=lambda row: _nearness(row, loop, architecture))
        like = _like(near, loop)
        instructions = near.instructions * loop.least_instructions / like.least_instructions
        conflicts = 1.0
        counted = [row for row in self.rows if row.wavefronts is not None]
        if counted:
            same = max(counted, key=lambda row: _nearness(row, loop, architecture))
            conflicts = (same.wavefronts or 0) / _like(same, loop).least_wavefronts
        wavefronts = loop.least_wavefronts * conflicts
        if row is not None:
            instructions, near = row.instructions, row
        exact = near.key == loop.key
        return Count(instructions, wavefronts, near.registers, not exact)


UNITS = re.compile(r"(?:TensorCore<(\w+), |Simt<)(\d+), (\d+), (\d+), (\d+), (\d+)")


def _tile(kind: str) -> tuple[str, int, int, int, tuple[int, int]]:
    """Unit, sizes and share of a main loop's C++ type."""
    found = UNITS.match(kind)
    if found is None:
        raise ValueError(f"no main loop: {kind}")
    m, n, k, down, across = (int(word) for word in found.groups()[1:])
    return (found[1] or "simt").lower(), m, n, k, (down, across)


def _like(row: _Row, loop: MainLoop) -> MainLoop:
    """The row's main loop; its operands lie as those of `loop` do, which it stands for."""
    unit, m, n, k, share = _tile(row.key[0])
    parts = m // share[0] * (n // share[1]) * (1 if unit == "simt" else 32)
    return MainLoop(unit, row.key[0], m, n, k, share, parts, loop.a, loop.b)


def _nearness(row: _Row, loop: MainLoop, architecture: str) -> tuple[bool, int, bool, bool, int]:
    """How much a row says of a main loop: first its unit, then its sources, tile, architecture."""
    unit, m, n, k, _ = _tile(row.key[0])
    sources = zip(row.key[1:], loop.key[1:], strict=True)
    size = -abs(m * n * k - loop.m * loop.n * loop.k)
    same = (m, n, k) == (loop.m, loop.n, loop.k)
    alike = sum(_alike(*pair) for pair in sources)
    return unit == loop.unit, alike, same, row.architecture == architecture, size


def _alike(one: str, other: str) -> int:
    """Words that two sources' types have in the same place, numbers aside."""
    words = (re.findall(r"[A-Za-z]\w*", kind.removeprefix("Unpooled<")) for kind in (one, other))
    return sum(a == b for a, b in zip(*words, strict=False))


@lru_cache(maxsize=1)
def read_counts(path: Path | None = None) -> Counts:
    """The table of that file, by default minidl's own."""
    file = path or kernels_folder() / "resources" / "instructions.csv"
    rows = csv.DictReader(io.StringIO(read_text(file)))
    return Counts(tuple(map(_row, rows)))


def _row(cells: Mapping[str, str]) -> _Row:
    return _Row(
        (cells["main loop"], cells["a"], cells["b"]),
        cells["architecture"],
        int(cells["registers"]),
        int(cells["instructions"]),
        int(cells["wavefronts"]) if cells["wavefronts"] else None,
    )
