"""What was counted in the kernels' machine code: kernels/resources/instructions.csv.

Columns that are read: `kernel`, the C++ type, of a product all of it or its main loop and two
sources alone; `chip`, an architecture; `registers` of a thread; `a stage`: instructions of a warp
in one stage of the main loop, between its label and its branch back; `wavefronts` of shared memory,
of a block in one stage; `rounds` in which what follows a product waits for what it reads in one
turn of its loop over rows. The last two may be empty or missing. Other columns, such as
instructions by kind, are for people.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minidl.checkout import kernels_folder
from minidl.files.opening import read_text


@dataclass(frozen=True)
class Operand:
    """One side of a product: its source's C++ type, and how large its elements are."""

    kind: str
    itemsize: int


@dataclass(frozen=True)
class Shape:
    """A main loop's tile."""

    unit: str
    """simt, tf32 or bf16."""
    m: int
    n: int
    k: int
    share: tuple[int, int]
    """What a thread (simt) or a warp owns of it."""

    @property
    def parts(self) -> int:
        """Threads (simt) or warps of a block."""
        return self.m // self.share[0] * (self.n // self.share[1])

    @property
    def arithmetic(self) -> int:
        """Multiply-adds of a thread (simt), or tensor instructions of a warp, in one stage."""
        down, across = self.share
        if self.unit == "simt":
            return down * across * self.k
        return self.steps * (down // 16) * (across // 8)

    @property
    def steps(self) -> int:
        """Tensor instructions one behind the other in one stage."""
        return self.k // (16 if self.unit == "bf16" else 8)

    @property
    def threads(self) -> int:
        return self.parts if self.unit == "simt" else 32 * self.parts


@dataclass(frozen=True)
class MainLoop:
    """A product's main loop with its two sources: what is counted together."""

    shape: Shape
    a: Operand
    b: Operand

    @property
    def key(self) -> Key:
        return self.shape, self.a.kind, self.b.kind

    @property
    def operations(self) -> int:
        """Of a block in one stage; a multiply-add is two."""
        return 2 * self.shape.m * self.shape.n * self.shape.k

    @property
    def copied(self) -> int:
        """Bytes of both operands in one stage."""
        shape = self.shape
        return shape.k * (shape.m * self.a.itemsize + shape.n * self.b.itemsize)

    @property
    def least_wavefronts(self) -> float:
        """Of a block in one stage without bank conflicts: each byte is written once, and read once
        by every warp, or every 32 threads, that needs it."""
        shape, (down, across) = self.shape, self.shape.share
        parts = shape.parts / (32 if shape.unit == "simt" else 1)
        reads = parts * (down * self.a.itemsize + across * self.b.itemsize) * shape.k
        return (reads + self.copied) / WAVEFRONT

    @property
    def weight(self) -> float:
        """About the instructions of a warp in one stage: products, fragments, copies of 16 bytes
        with their addresses. Only the relation of two loops is used."""
        shape = self.shape
        rest = BASE + COPY * self.copied / 16 / shape.threads
        if shape.unit == "simt":
            return shape.arithmetic + rest
        loads = sum(
            size // 16 * (1 if operand.itemsize == 2 else FRAGMENT)
            for size, operand in zip(shape.share, (self.a, self.b), strict=True)
        )
        return shape.arithmetic + shape.steps * loads + rest


WAVEFRONT = 128
"""Bytes of shared memory."""
BASE, COPY, FRAGMENT = 20, 24, 8
"""Instructions of a stage beside its copies, of a copy, of a fragment that is rounded: what comes
nearest to the relation of all tiles of one source that were counted with NVRTC 12.4 and 13.5."""

Key = tuple[Shape, str, str]


@dataclass(frozen=True)
class Count:
    """Of one main loop on one architecture."""

    instructions: float
    wavefronts: float
    registers: int
    rounds: int = 1
    """Of one turn; 1, all loads before all stores, where nobody counted them."""
    estimated: bool = False
    """Made from another main loop; the same one on another architecture counts for itself."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    kernel: str
    key: Key
    chip: str
    registers: int
    instructions: int
    wavefronts: int | None
    rounds: int | None


class Counts:
    """The table, and what is estimated where it has no row."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self.rows = rows
        self.by_kernel = {(row.kernel, row.chip): row for row in rows}
        self.by_key = {(row.key, row.chip): row for row in rows}
        self.known: dict[tuple[MainLoop, str, str], Count] = {}

    def of(self, loop: MainLoop, chip: str, kernel: str = "") -> Count:
        """The row of that kernel, or of its main loop; or the nearest one's counts, scaled to its
        tile and operands."""
        what = loop, chip, kernel
        if what not in self.known:
            self.known[what] = self._of(loop, chip, kernel)
        return self.known[what]

    def _of(self, loop: MainLoop, chip: str, kernel: str) -> Count:
        exact = self.by_kernel.get((kernel, chip))
        row = exact or self.by_key.get((loop.key, chip))
        if row is not None and row.wavefronts is not None:
            wavefronts: float = row.wavefronts
        else:
            wavefronts = loop.least_wavefronts * self._conflicts(loop, chip)
        rounds = (exact.rounds if exact is not None else None) or 1
        if row is not None:
            return Count(row.instructions, wavefronts, row.registers, rounds)
        near = max(self.rows, key=lambda row: _nearness(row, loop, chip, kernel))
        instructions = near.instructions * loop.weight / _standing_for(near, loop).weight
        return Count(instructions, wavefronts, near.registers, estimated=near.key != loop.key)

    def _conflicts(self, loop: MainLoop, chip: str) -> float:
        """How many times the least wavefronts the nearest loop needs whose were counted."""
        counted = [row for row in self.rows if row.wavefronts is not None]
        if not counted:
            return 1.0
        near = max(counted, key=lambda row: _nearness(row, loop, chip))
        return (near.wavefronts or 0) / _standing_for(near, loop).least_wavefronts


def _standing_for(row: Row, loop: MainLoop) -> MainLoop:
    """The row's main loop, with operands that lie as those of `loop` do."""
    return MainLoop(row.key[0], loop.a, loop.b)


def _nearness(row: Row, loop: MainLoop, chip: str, kernel: str = "") -> tuple[int, ...]:
    """How much a row says of a main loop: first its unit, then its sources, tile, what follows,
    architecture."""
    shape, *sources = row.key
    alike = sum(_alike(*pair) for pair in zip(sources, loop.key[1:], strict=True))
    size = -abs(shape.m * shape.n - loop.shape.m * loop.shape.n)
    years = -abs(_number(row.chip) - _number(chip))
    same = shape == loop.shape, row.kernel == kernel
    return shape.unit == loop.shape.unit, alike, *same, years, size


def _number(chip: str) -> int:
    """Of an architecture: 90 for sm_90a."""
    return int(re.sub(r"\D", "", chip) or 0)


def _alike(one: str, other: str) -> int:
    """Words that two sources' types have in the same place, numbers aside."""
    words = (re.findall(r"[A-Za-z]\w*", kind.removeprefix("Unpooled<")) for kind in (one, other))
    return sum(a == b for a, b in zip(*words, strict=False))


# -- the file --------------------------------------------------------------------------------------

LOOP = re.compile(r"(?:TensorCore<(\w+), |Simt<)(\d+), (\d+), (\d+), (\d+), (\d+)")


def key_of(kernel: str) -> Key:
    """Tile and sources of a product's C++ type, `Gemm<main loop, a, b, ...>`."""
    loop, a, b, *_ = arguments_of(kernel)
    return shape_of(loop), a, b


def shape_of(kernel: str) -> Shape:
    """Tile of a main loop's C++ type, or of the first in a product's."""
    found = LOOP.search(kernel)
    if found is None:
        raise ValueError(f"no main loop: {kernel}")
    m, n, k, down, across = (int(word) for word in found.groups()[1:])
    return Shape((found[1] or "simt").lower(), m, n, k, (down, across))


def arguments_of(kind: str) -> Iterator[str]:
    """The arguments of a C++ template, as they are written."""
    depth, begun = 0, kind.index("<") + 1
    for place, letter in enumerate(kind):
        depth += (letter == "<") - (letter == ">")
        if (letter == "," and depth == 1) or (letter == ">" and depth == 0):
            yield kind[begun:place].strip()
            begun = place + 1


@lru_cache(maxsize=4)
def read_counts(path: Path | None = None) -> Counts:
    """The table of that file, by default minidl's own."""
    file = path or kernels_folder() / "resources" / "instructions.csv"
    rows = csv.DictReader(io.StringIO(read_text(file)))
    return Counts(tuple(_row(cells) for cells in rows if cells["kernel"].startswith("Gemm<")))


def _row(cells: Mapping[str, str]) -> Row:
    kernel = cells["kernel"]
    sizes = int(cells["registers"]), int(cells["a stage"])
    more = (int(cells[name]) if cells.get(name) else None for name in ("wavefronts", "rounds"))
    return Row(kernel, key_of(kernel), cells["chip"], *sizes, *more)
