"""From a product of two sources to its launches: the sum itself, then the sum of its splits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops.cuda.launch import (
    Address,
    Argument,
    CppFile,
    Launch,
    division,
    grid_for,
    int32,
    ints,
    scratch_of,
)
from minidl.ops.cuda.loop import Loop, Side
from minidl.ops.cuda.operands import (
    Pitch,
    ctype,
    sink,
    sink_tensors,
    sources_of_epilogue,
    width_of_vectors,
)
from minidl.ops.cuda.pooled import PooledSink
from minidl.ops.cuda.product import Operand, Problem, Product
from minidl.ops.cuda.rules import source_of
from minidl.ops.cuda.staged import BLOCK, BOXES

STAGE = BOXES * BLOCK
"""Pixels that a staged source takes at once, at most."""


@dataclass(frozen=True)
class Source:
    """One operand of a product: see kernels/gemm.cuh."""

    kind: str
    """The C++ type."""
    fields: Argument
    operand: Operand
    room: int = 0
    """Bytes of shared memory beside the main loop's: see `minidl.ops.cuda.staged`."""
    counted: int = 0
    """The largest number that it counts to in 31 bits, beside its rows and terms."""


def matrix(
    t: Tensor, size: int, depth: int, pitch: int, k_major: bool, group_step: int = 0
) -> Source:
    """`Matrix`: element (index, k) at [index * pitch + k], or [k * pitch + index]."""
    along = depth if k_major else size
    width = width_of_vectors([t], along, pitch, group_step)
    fields = (Address(t), np.int64(pitch), np.int64(group_step), int32(size), int32(depth))
    kind = f"Matrix<{ctype(t)}, {width}, {str(k_major).lower()}>"
    return Source(kind, fields, Operand(t.itemsize, k_major))


def radix(stage: int, middle: int, low: int) -> Argument:
    """`Radix`: how many values the lower digits of a count have, and `stage` in digits."""
    carried, by_low = divmod(stage, low)
    by_high, by_middle = divmod(carried, middle)
    return division(middle), division(low), ints(by_high + 1, by_middle + 1, by_low)


def farthest(stage: int, high: int, lower: tuple[int, int], pitches: tuple[int, int, int]) -> int:
    """Elements from the first of a count's places to the last that a stage beyond its end may name;
    `pitches`: from one value of each digit to the next."""
    middle, low = lower
    beyond = high + 2 * stage // (middle * low) + 1
    return sum(n * abs(p) for n, p in zip((beyond, middle, low), pitches, strict=True))


@dataclass(frozen=True)
class Destination:
    """Where a product's result goes: row m of it is row m of `to`, unless a row map says more."""

    to: Tensor
    pitch: Pitch
    bias: Tensor | None = None
    row_step: int = 0
    column_step: int = 0
    row_map: tuple[str, Argument] | None = None
    pooled: PooledSink | None = None

    @property
    def rows(self) -> tuple[str, Argument]:
        """The row map's C++ type and fields."""
        if self.row_map is not None:
            return self.row_map
        if self.pooled:
            return f"EachWindow<{math.prod(self.pooled.block)}>", ()
        return "SameRow", (np.int64(0),)

    def fields(self, op: Op) -> tuple[str, Argument]:
        """The sink's C++ type and the fields of `Result`."""
        kind, to = self.pooled.fields() if self.pooled else sink(op, self.to, self.pitch)
        bias = np.uint64(0) if self.bias is None else Address(self.bias)
        return kind, (to, bias, int32(self.row_step), int32(self.column_step))

    def width(self, op: Op, columns: int) -> int:
        """Elements that one store may take."""
        if self.pooled:
            return self.pooled.columns(columns)
        tensors = sink_tensors(op, self.to)
        return width_of_vectors(tensors, columns, self.column_step, *map(self.pitch, tensors))


def launch_product(
    op: Op, product: Product, a: Source, b: Source, destination: Destination
) -> list[Launch]:
    """The launches of a product, its bias and its epilogue."""
    if product.splits == 1:
        kind, result = destination.fields(op)
        width = destination.width(op, product.problem.n)
        more = sources_of_epilogue(op)
        loop = _loop(op, product, a, b, destination, width)
        return [_product(op, loop, a, b, kind, result, destination.rows, more)]
    p, partial = product.problem, scratch_of(op)
    sums = ((Address(partial), int32(p.n)), np.uint64(0), int32(0), int32(0))
    rows = ("SameRow", (np.int64(p.m),))
    width = width_of_vectors([partial], p.n)
    loop = _loop(op, product, a, b, destination, width)
    first = _product(op, loop, a, b, "Out<float>", sums, rows, ())
    return [first, _sum_splits(op, product, partial, destination)]


def _product(
    op: Op,
    loop: Loop,
    a: Source,
    b: Source,
    sink_kind: str,
    result: Argument,
    rows: tuple[str, Argument],
    more_sources: tuple[CppFile, ...],
) -> Launch:
    product, p, tile = loop.product, loop.product.problem, loop.product.tile
    tiles = product.down * product.across
    grid = tiles, 1, product.parts
    sizes = (int32(n) for n in (p.m, p.n, p.k, product.k_of_a_split))
    return Launch(
        f"Gemm<{tile.main_loop}, {a.kind}, {b.kind}, {sink_kind}, {rows[0]}, {loop.vector}>",
        source_of(op.original),
        grid,
        tile.threads,
        (
            a.fields,
            b.fields,
            result,
            rows[1],
            *sizes,
            division(product.splits),
            raster(product.down, product.across, loop.band),
        ),
        tile.shared_bytes(a.operand, b.operand) + a.room + b.room,
        a.room + b.room,
        more_sources,
        max(p.m + tile.m, p.n + tile.n, _terms(product), tiles, a.counted, b.counted),
        loop=loop,
    )


def raster(down: int, across: int, band: int) -> Argument:
    """`Raster`: the order of so many tiles of m and n."""
    bands = -(-down // band)
    last = down - (bands - 1) * band
    return division(band * across), division(band), division(last), int32(bands)


PLAIN_ROWS = "SameRow"
"""The row map that divides nothing."""


def _loop(
    op: Op, product: Product, a: Source, b: Source, destination: Destination, vector: int
) -> Loop:
    """What the order and the time of a product's kernel depend on. A source with room of its own
    is made for one tile; windows and phases of rows are never split."""
    products: Products = op.original.attributes["products"]
    first, second, *_ = (t.nbytes for t in op.original.reads)
    pooled = destination.pooled
    return Loop(
        product,
        Side(a.kind, a.operand, first),
        Side(b.kind, b.operand, second),
        vector,
        taps=math.prod(pooled.block) if pooled else 1,
        divides=destination.row_map is not None,
        free=not (a.room or b.room),
        splittable=destination.rows[0] == PLAIN_ROWS,
        cache=products.cache,
    )


def _terms(product: Product) -> int:
    """What the kernel counts to along the sum: all splits, and what it asks for beyond the end."""
    return product.splits * product.k_of_a_split + max(product.tile.k, STAGE)


def _sum_splits(op: Op, product: Product, partial: Tensor, destination: Destination) -> Launch:
    p = product.problem
    width = min(destination.width(op, p.n), width_of_vectors([partial], p.n))
    kind, result = destination.fields(op)
    vectors = p.n // width
    arguments = (
        result,
        Address(partial),
        *(int32(n) for n in (p.m, product.splits, p.groups)),
        division(vectors),
        int32(p.n),
    )
    blocks, *_ = grid_for(p.m * vectors)
    return Launch(
        f"sum_splits<{width}, {kind}>",
        source_of(op.original),
        (blocks, p.groups, 1),
        256,
        arguments,
        more_sources=sources_of_epilogue(op),
        counted=p.m * vectors,
    )


UNITS = {"float32": "simt", "tf32": "tf32", "bf16": "bf16"}
"""The main loop of each precision."""


@dataclass(frozen=True)
class Products:
    """The three products of a layer with weights."""

    forward: Product
    dgrad: Product
    wgrad: Product
    cache: int
    """Bytes of the card's L2, which the order of tiles follows."""

    @property
    def scratch(self) -> tuple[int, int, int]:
        """Elements of partial sums of each."""
        return self.forward.scratch, self.dgrad.scratch, self.wgrad.scratch


__all__ = [
    "UNITS",
    "Destination",
    "Problem",
    "Products",
    "Source",
    "launch_product",
    "matrix",
]
