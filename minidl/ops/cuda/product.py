"""Tiles of the matrix products: which one a problem gets, and how many splits of the sum.

result[m, n] = sum over k of a[m, k] b[n, k]; see kernels/gemm.cuh. The choice is made when a
network is lowered, since splits need planned scratch, by a model of the time on one card;
measurements may replace it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minidl.cards import DEFAULT
from minidl.files.fields import parse_json, take
from minidl.files.opening import read_text
from minidl.files.words import shown
from minidl.ir import ArgumentError, PlanError
from minidl.ir.card import Card
from minidl.ir.readers import whole

LAUNCH_SECONDS = 4e-6
"""A second launch and the wait between the two."""
SUM_BANDWIDTH = 2.5 / 3.352
"""Part of a card's bandwidth at which partial sums are written and read."""


@dataclass(frozen=True)
class Tile:
    """One main loop's shape; `share` is what one thread (simt) or one warp owns of it."""

    unit: str
    """simt, tf32 or bf16."""
    m: int
    n: int
    k: int
    share: tuple[int, int]
    stages: int
    efficiency: float
    """Part of the unit's peak that the main loop reaches on large problems: a model, of Hopper."""

    @property
    def threads(self) -> int:
        parts = self.m // self.share[0] * (self.n // self.share[1])
        return parts if self.unit == "simt" else parts * 32

    @property
    def name(self) -> str:
        return f"{self.unit} {self.m}x{self.n}x{self.k}"

    @property
    def main_loop(self) -> str:
        """The C++ type."""
        down, across = self.share
        sizes = f"{self.m}, {self.n}, {self.k}, {down}, {across}"
        if self.unit == "simt":
            return f"Simt<{sizes}>"
        return f"TensorCore<{self.unit.capitalize()}, {sizes}, {self.stages}>"

    def shared_bytes(self, a: Operand, b: Operand) -> int:
        """Shared memory of one block."""
        if self.unit == "simt":
            return 2 * self.k * (self.m + self.n + 8) * 4
        return self.stages * (a.tile_bytes(self.m, self.k) + b.tile_bytes(self.n, self.k))


@dataclass(frozen=True)
class Operand:
    """How a source's elements lie: see kernels/gemm.cuh."""

    itemsize: int
    k_major: bool

    def tile_bytes(self, size: int, depth: int) -> int:
        """Of `SharedTile`: lines are padded."""
        if self.k_major:
            return size * (depth * self.itemsize + 16)
        return depth * (size + 8) * self.itemsize


WEIGHT_BYTES = 4
"""Of an element of a weight: float32 in every precision."""

TILES = (
    Tile("simt", 128, 128, 16, (8, 8), 2, 0.75),
    Tile("simt", 128, 64, 16, (8, 4), 2, 0.65),
    Tile("simt", 64, 128, 16, (4, 8), 2, 0.65),
    Tile("simt", 64, 64, 16, (4, 4), 2, 0.5),
    Tile("simt", 64, 32, 16, (4, 4), 2, 0.4),
    Tile("simt", 32, 32, 16, (4, 4), 2, 0.25),
    Tile("tf32", 128, 128, 16, (64, 32), 4, 0.4),
    Tile("tf32", 128, 64, 16, (32, 32), 4, 0.33),
    Tile("tf32", 64, 128, 16, (32, 32), 4, 0.33),
    Tile("tf32", 64, 64, 16, (32, 32), 4, 0.25),
    Tile("tf32", 64, 32, 16, (32, 16), 4, 0.17),
    Tile("tf32", 32, 32, 16, (16, 16), 4, 0.1),
    Tile("bf16", 128, 128, 32, (64, 32), 3, 0.4),
    Tile("bf16", 128, 64, 32, (32, 32), 4, 0.33),
    Tile("bf16", 64, 128, 32, (32, 32), 4, 0.33),
    Tile("bf16", 64, 64, 32, (32, 32), 4, 0.25),
    Tile("bf16", 64, 32, 32, (32, 16), 4, 0.17),
    Tile("bf16", 32, 32, 32, (16, 16), 4, 0.1),
)

LAYERS = 65535
"""Of a grid along z, at most: a group and a split each are one."""
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
LEAST_STEPS = 8
"""Main-loop steps of one split at least."""
SCRATCH = 16 * 2**20
"""Bytes of partial sums at most."""


SIZE = whole(0)


@dataclass(frozen=True)
class Problem:
    """One matrix product for each of `groups` groups."""

    unit: str
    m: int
    n: int
    k: int
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "groups"):
            object.__setattr__(self, name, SIZE.take(getattr(self, name), name))

    @property
    def key(self) -> str:
        """Its name in a tuning file."""
        return f"{self.unit} m{self.m} n{self.n} k{self.k} g{self.groups}"


@dataclass(frozen=True)
class Product:
    """A problem, its tile and the splits of its sum."""

    problem: Problem
    tile: Tile
    splits: int

    @property
    def k_of_a_split(self) -> int:
        steps = -(-self.problem.k // self.tile.k)
        return max(1, -(-steps // self.splits)) * self.tile.k

    @property
    def down(self) -> int:
        """Tiles of a column of the result."""
        return -(-self.problem.m // self.tile.m)

    @property
    def across(self) -> int:
        """Columns of tiles."""
        return -(-self.problem.n // self.tile.n)

    @property
    def parts(self) -> int:
        """Groups and splits."""
        return self.problem.groups * self.splits

    @property
    def blocks(self) -> int:
        return self.down * self.across * self.parts

    @property
    def scratch(self) -> int:
        """Elements of partial sums: float32."""
        p = self.problem
        return self.splits * p.groups * p.m * p.n if self.splits > 1 else 0

    def on(self, m: int, k: int) -> Product:
        """The same tile, unsplit, on a problem of other sizes: a phase of a strided dgrad."""
        p = self.problem
        return Product(Problem(p.unit, m, p.n, k, p.groups), self.tile, 1)


Room = Callable[[Tile], "int | None"]
"""Bytes of shared memory that a block needs with a tile; None: the tile is not to be used."""


def room(a: Operand, b: Operand) -> Room:
    """Of a main loop alone."""
    return lambda tile: tile.shared_bytes(a, b)


def largest_room(tile: Tile) -> int:
    """Of a main loop, whatever its operands are."""
    kinds = [Operand(4, k_major) for k_major in (False, True)]
    return max(tile.shared_bytes(a, b) for a in kinds for b in kinds)


Tuning = Mapping[str, tuple[str, int]]
"""By a problem's key: a tile's name and the splits, as measured on some device."""


def read_tuning(path: str | Path) -> Tuning:
    """Read a tuning file, JSON: {"simt m64 n576 k802816 g1": ["simt 64x128x16", 24], ...}."""
    names = {tile.name for tile in TILES}
    try:
        text = read_text(path)
    except OSError as error:
        raise ArgumentError(f"no tuning file: {path}: {error.strerror or error}") from None
    try:
        rows: Tuning = take(dict[str, tuple[str, int]], parse_json(text), "it")
        for key, (name, splits) in rows.items():
            if name not in names or splits not in SPLITS:
                raise ArgumentError(f"{shown(key)}: no tile {shown(name)} with {splits} splits")
    except ArgumentError as error:
        raise error.at(f"no tuning file: {path}") from None
    return rows


def choose(
    problem: Problem,
    scratch_limit: int,
    splits: bool,
    tuning: Tuning | None,
    shared: Room | None = None,
    card: Card = DEFAULT,
) -> Product:
    """The product with the least modelled time on a card; a measured choice wins where it fits.

    splits: whether the sum may be split; shared: what a tile needs and a block of the card has to
    have; where it is not said, what the largest operands need.
    """
    shared = shared or largest_room
    if tuning and problem.key in tuning:
        name, count = tuning[problem.key]
        tile = next(tile for tile in TILES if tile.name == name)
        found = Product(problem, tile, count if splits else 1)
        allowed = _fits(tile, shared, card) and found.parts <= LAYERS
        if allowed and found.scratch * 4 <= scratch_limit:
            return found
    tiles = tuple(t for t in TILES if t.unit == problem.unit and _fits(t, shared, card))
    if not tiles:
        raise PlanError(
            f"no tile of unit {problem.unit} fits into the {card.limits.shared_of_a_block:,} "
            f"bytes of shared memory that a block has on {card.name}",
            "take another GPU",
        )
    return _fastest(problem, tiles, min(scratch_limit, SCRATCH), splits, card)


def _fits(tile: Tile, shared: Room, card: Card) -> bool:
    needed = shared(tile)
    return needed is not None and needed <= card.limits.shared_of_a_block


@lru_cache(maxsize=None, typed=True)
def _fastest(
    problem: Problem, tiles: tuple[Tile, ...], scratch_limit: int, splits: bool, card: Card
) -> Product:
    candidates = [
        Product(problem, tile, count)
        for tile in tiles
        for count in (SPLITS if splits else (1,))
        if count == 1 or may_split(problem, tile, count, scratch_limit)
    ]
    return min(candidates, key=lambda product: modelled_seconds(product, card))


def may_split(problem: Problem, tile: Tile, count: int, scratch_limit: int) -> bool:
    """Whether its sum is long enough for so many splits, and their scratch small enough."""
    product = Product(problem, tile, count)
    long = problem.k >= count * LEAST_STEPS * tile.k and problem.groups * count <= LAYERS
    return long and product.scratch * 4 <= scratch_limit


def modelled_seconds(product: Product, card: Card = DEFAULT) -> float:
    """Blocks run in waves, one on each multiprocessor; then the partial sums are added."""
    p, tile = product.problem, product.tile
    depth = min(product.k_of_a_split, -(-p.k // tile.k) * tile.k)
    flops = 2 * tile.m * tile.n * depth
    peak = card.peaks.of(tile.unit) * tile.efficiency / card.multiprocessors
    seconds = -(-product.blocks // card.multiprocessors) * flops / peak
    if product.splits > 1:
        seconds += LAUNCH_SECONDS + 2 * product.scratch * 4 / (card.bandwidth * SUM_BANDWIDTH)
    return seconds
