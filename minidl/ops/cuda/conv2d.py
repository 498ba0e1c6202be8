"""Launches of convolutions: the table at the top of kernels/conv2d.cu."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from minidl.cards import DEFAULT, card_of
from minidl.ir import How, Op, Shape, Takes, Tensor
from minidl.ir.card import Card
from minidl.ops import conv2d as ops
from minidl.ops.cuda.launch import (
    COUNTED,
    Address,
    Argument,
    CppFile,
    Launch,
    division,
    int32,
    ints,
)
from minidl.ops.cuda.matrix import (
    UNITS,
    Destination,
    Products,
    Source,
    farthest,
    launch_product,
    matrix,
    radix,
)
from minidl.ops.cuda.operands import ctype, matrix_pitch, pixel_pitch, width_of_vectors
from minidl.ops.cuda.pooled import PooledSink, Unpooling
from minidl.ops.cuda.product import WEIGHT_BYTES, Operand, Problem, Tile, Tuning, choose, room
from minidl.ops.cuda.rules import rule
from minidl.ops.cuda.staged import SIDE, Staging
from minidl.ops.target import data_of, of_phase
from minidl.ops.window import Pair, Window
from minidl.options import Options

FILE = CppFile("conv2d.cu")

Order = tuple[int, int, Pair]
"""In which order pixels come: blocks of an image, blocks of a row, rows and columns of a block."""


def conv2d_products(
    precision: str,
    window: Window,
    groups: int,
    x: Tensor,
    y: Tensor,
    limit: int,
    tuning: Tuning | None,
    staging: Staging | None,
    card: Card = DEFAULT,
) -> Products:
    """How each of the three products is cut; a strided dgrad by its largest phase."""
    unit = UNITS[precision]
    (r, s), (u, v), k = window.kernel, window.stride, y.shape[3] // groups
    n, h, w, c = *x.shape[:3], x.shape[3] // groups
    pixels = staging.pixels if staging else math.prod(y.shape[:3])
    phase = n * -(-h // u) * -(-w // v), c, -(-r // u) * -(-s // v) * k
    forward = Problem(unit, pixels, k, r * s * c, groups)
    dgrad = Problem(unit, *phase, groups)
    wgrad = Problem(unit, k, r * s * c, pixels, groups)
    whole = staging is None  # rows of split sums are in the result's order, blocks are not
    from_x, from_dy = Operand(x.itemsize, True), Operand(y.itemsize, True)
    of_pixels = Operand(y.itemsize, False), Operand(x.itemsize, False)
    rooms = (
        staging.forward_shared if staging else room(from_x, Operand(WEIGHT_BYTES, True)),
        room(from_dy, Operand(WEIGHT_BYTES, False)),
        staging.wgrad_shared if staging else room(*of_pixels),
    )
    return Products(
        choose(forward, limit, whole, tuning, rooms[0], card),
        choose(dgrad, limit, window.stride == (1, 1), tuning, rooms[1], card),
        choose(wgrad, limit, True, tuning, rooms[2], card),
        card.l2,
    )


def _how(op: Op, options: Options) -> How:
    """Every kernel gathers, so each can hand on what it has; whole groups of 4 take pools in."""
    x, y = data_of(op)
    window, groups, card = op.attributes["window"], op.attributes["groups"], card_of(options.card)
    staging = Staging.of(window, groups, x, y.shape)
    limit, tuning = options.scratch_limit, options.tiles
    products = conv2d_products(
        options.precision, window, groups, x, y, limit, tuning, staging, card
    )
    pools = groups == 1 and y.shape[3] % 4 == 0
    inlines = 0 if pools else None
    takes = (
        Takes(finishes=True, by_blocks=pools and products.forward.splits == 1),
        Takes(finishes=True, inlines=inlines if window.stride == (1, 1) else None),
        Takes(tiled=0, inlines=inlines),
    )
    attributes = {**op.attributes, "products": products, "staging": staging}
    return How(attributes, of_phase(op, products.scratch), of_phase(op, takes))


@rule(ops.conv2d_forward, file=FILE, how=_how)
def conv2d_forward(op: Op) -> list[Launch]:
    main = op.original
    x, w, *bias = main.reads
    groups, y, product = op.attributes["groups"], main.writes[0], op.attributes["products"].forward
    k, depth = y.shape[3] // groups, matrix_pitch(w)
    pooled, staging = PooledSink.of(op), op.attributes["staging"]
    destination = Destination(
        y, pixel_pitch, bias[0] if bias else None, column_step=k, pooled=pooled
    )
    block = pooled.block if pooled else (1, 1)
    b = matrix(w, k, depth, depth, k_major=True, group_step=k * depth)
    if staging and staging.takes(x, block):
        size = pooled.size if pooled else y.shape[1:3]
        destination = replace(destination, row_map=staging.rows(size, block))
        fields, kind = staging.fields(x), staging.kind(x, True, block)
        room = staging.forward_room(product.tile)
        a = Source(kind, fields, Operand(x.itemsize, True), room)
        return launch_product(op, product, a, b, destination)
    pixels = pooled.pixels if pooled else math.prod(y.shape[:3])
    rows, columns = y.shape[1] // block[0], y.shape[2] // block[1]
    order = rows * columns, columns, block
    tile = product.tile
    a = _patches(x, op.attributes["window"], groups, pixels, order, tile, k_major=True)
    return launch_product(op, product.on(pixels, depth), a, b, destination)


@rule(ops.conv2d_wgrad, file=FILE, how=_how)
def conv2d_wgrad(op: Op) -> list[Launch]:
    main = op.original
    dy, x = main.reads
    groups, pool = main.attributes["groups"], Unpooling.of(op)
    k, pixels = dy.shape[3] // groups, math.prod(dy.shape[:3])
    product, staging = main.attributes["products"].wgrad, main.attributes["staging"]
    destination = Destination(main.writes[0], matrix_pitch, row_step=k)
    order: Order = math.prod(dy.shape[1:3]), dy.shape[2], (1, 1)
    if staging:
        pixels, (down, across) = staging.pixels, staging.blocks
        order = down * across, across, (SIDE, SIDE)
    if pool is None and not staging:
        a = matrix(dy, k, pixels, pixel_pitch(dy), k_major=False, group_step=k)
    else:
        a = _pixels(pool.dy if pool else dy, dy.shape, k, pixels, order, product.tile)
        a = _unpooled(pool, a) if pool else a
    if staging and staging.takes(x):
        boxes = staging.wgrad_boxes(product.tile)
        fields, room = staging.fields(x, boxes), staging.room(boxes)
        b = Source(staging.kind(x, False), fields, Operand(x.itemsize, False), room)
    else:
        window, tile = main.attributes["window"], product.tile
        b = _patches(x, window, groups, pixels, order, tile, k_major=False)
    return launch_product(op, product, a, b, destination)


def _pixels(dy: Tensor, shape: Shape, k: int, pixels: int, order: Order, tile: Tile) -> Source:
    """The filters of each pixel of an image of that shape, in some order: patches of one tap."""
    (_, p, q, _), pitch = shape, pixel_pitch(dy)
    image, columns, block = order
    return _source(
        dy,
        tile,
        width_of_vectors([dy], k, pitch),
        False,
        False,
        k,
        (q * pitch, pitch, p, q),
        ((1, 1), (0, 0), (1, 1)),
        (pixels, k),
        (image, columns, k, 1),
        block,
    )


@dataclass(frozen=True)
class Phase:
    """Rows of dx (or columns) at first, first + stride, ..., and the taps that touch them."""

    first: int
    count: int
    stride: int
    first_tap: int
    taps: int
    tap_step: int
    origin: int
    """Row of dy that the first tap reads for the phase's first row."""
    dilation: int
    """Rows of dy from one tap to the next."""


def phases(axis: int, window: Window, size: int) -> list[Phase]:
    """dx[h] gathers dy[(h + padding - r dilation) / stride] over the r where that is whole."""
    stride, dilation = window.stride[axis], window.dilation[axis]
    step, found = stride // math.gcd(dilation, stride), []
    for first in range(min(stride, size)):
        shift = first + window.padding[axis]
        taps = [r for r in range(window.kernel[axis]) if (shift - r * dilation) % stride == 0]
        first_tap = taps[0] if taps else 0
        origin = (shift - first_tap * dilation) // stride if taps else 0
        count = -(-(size - first) // stride)
        phase = Phase(
            first, count, stride, first_tap, len(taps), step, origin, -step * dilation // stride
        )
        found.append(phase)
    return found


@rule(ops.conv2d_dgrad, file=FILE, how=_how)
def conv2d_dgrad(op: Op) -> list[Launch]:
    window, x = op.attributes["window"], op.writes[0]
    down, across = (phases(axis, window, x.shape[1 + axis]) for axis in (0, 1))
    return [launch for p in down for q in across for launch in _dgrad_of_phase(op, (p, q))]


def _dgrad_of_phase(op: Op, phase: tuple[Phase, Phase]) -> list[Launch]:
    (dx, *_), (dy, w), pool = op.writes, op.original.reads, Unpooling.of(op)
    groups, window, (down, across) = op.attributes["groups"], op.attributes["window"], phase
    c, k = dx.shape[3] // groups, dy.shape[3] // groups
    depth = down.taps * across.taps * k
    pixels = dx.shape[0] * down.count * across.count
    product = op.attributes["products"].dgrad
    strided = (down.stride, across.stride) != (1, 1)
    row_map = ("PhaseRows", _phase_rows(dx, phase)) if strided else None
    destination = Destination(dx, pixel_pitch, column_step=c, row_map=row_map)
    if strided:
        product = product.on(pixels, depth)
    if pool or not _pointwise(window):
        a = _patches_of_phase(pool.dy if pool else dy, phase, pixels, depth, k, product.tile)
    else:
        a = matrix(dy, pixels, k, pixel_pitch(dy), k_major=True, group_step=k)
    if pool:
        a = _unpooled(pool, a)
    if _pointwise(window):
        b = matrix(w, c, k, c, k_major=False, group_step=k * c)
    else:
        b = _filters_of_phase(w, phase, c, k, product.tile)
    return launch_product(op, product, a, b, destination)


def _phase_rows(dx: Tensor, phase: tuple[Phase, Phase]) -> Argument:
    down, across = phase
    return (
        division(down.count * across.count),
        division(across.count),
        *ints(*dx.shape[1:3]),
        ints(down.first, across.first),
        ints(down.stride, across.stride),
    )


def _pointwise(window: Window) -> bool:
    """Whether pixel i of y is made of pixel i of x alone."""
    return (window.kernel, window.stride, window.padding) == ((1, 1), (1, 1), (0, 0))


def _patches(
    x: Tensor,
    window: Window,
    groups: int,
    pixels: int,
    order: Order,
    tile: Tile,
    k_major: bool,
) -> Source:
    """Patches of x at the pixels of y."""
    (_, h, w, _), c, pitch = x.shape, x.shape[3] // groups, pixel_pitch(x)
    (u, v), (top, left), (image, columns, block) = window.stride, window.padding, order
    depth = math.prod(window.kernel) * c
    width = width_of_vectors([x], c, pitch)
    rows = width < 4 and groups == 1 and window.dilation[1] == 1 and pitch == c
    if rows:  # a row of taps is one run of elements
        width, across = 1, (w * c, v * c, -left * c, window.kernel[1] * c, 1, 1)
    else:
        across = (w, v, -left, c, window.kernel[1], pitch)
    size, stride, origin, channels, taps, apart = across
    return _source(
        x,
        tile,
        width,
        k_major,
        rows,
        c,
        (w * pitch, apart, h, size),
        ((u, stride), (-top, origin), window.dilation),
        (pixels, depth),
        (image, columns, channels, taps),
        block,
    )


def _patches_of_phase(
    dy: Tensor, phase: tuple[Phase, Phase], pixels: int, depth: int, k: int, tile: Tile
) -> Source:
    """Patches of dy at the pixels of dx of one phase."""
    (_, p, q, _), pitch, (down, across) = dy.shape, pixel_pitch(dy), phase
    return _source(
        dy,
        tile,
        width_of_vectors([dy], k, pitch),
        True,
        False,
        k,
        (q * pitch, pitch, p, q),
        ((1, 1), (down.origin, across.origin), (down.dilation, across.dilation)),
        (pixels, depth),
        (down.count * across.count, across.count, k, max(1, across.taps)),
    )


def _source(
    t: Tensor,
    tile: Tile,
    width: int,
    k_major: bool,
    rows: bool,
    group_step: int,
    sizes: tuple[int, int, int, int],
    steps: tuple[Pair, Pair, Pair],
    counts: Pair,
    divisors: tuple[int, int, int, int],
    block: Pair = (1, 1),
) -> Source:
    """`Patches`, in the order of its fields."""
    (pixels, depth), (image, columns, channels, taps) = counts, divisors
    (row_pitch, pitch, height, _), (stride, _, dilation) = sizes, steps
    if k_major:
        highest, lower = depth // (channels * taps), (taps, channels)
        pitches = dilation[0] * row_pitch, dilation[1] * pitch, 1
    else:
        highest, lower = pixels // (image * math.prod(block)), (image // columns, columns)
        pitches = height * row_pitch, stride[0] * block[0] * row_pitch, stride[1] * block[1] * pitch
    fields = (
        Address(t),
        np.int64(group_step),
        *ints(*sizes),
        *(ints(*pair) for pair in steps),
        *ints(pixels, highest),
        radix(tile.k, image // columns, columns),
        radix(tile.k, taps, channels),
    )
    flags = f"{str(k_major).lower()}, {str(rows).lower()}"
    far = farthest(tile.k, highest, lower, pitches) > COUNTED
    blocks = f", {block[0]}, {block[1]}" if far or block != (1, 1) else ""
    kind = f"Patches<{ctype(t)}, {width}, {flags}{blocks}{', int64' if far else ''}>"
    return Source(kind, fields, Operand(t.itemsize, k_major))


def _unpooled(pool: Unpooling, patches: Source) -> Source:
    """`Unpooled`: of the patches of the pool's dy only pixels and taps count."""
    kind = f"Unpooled<{patches.kind}, {pool.kind}>"
    return Source(kind, (patches.fields, pool.fields), patches.operand)


def _filters_of_phase(w: Tensor, phase: tuple[Phase, Phase], c: int, k: int, tile: Tile) -> Source:
    (_, _, taps_of_a_row, _), (down, across) = w.shape, phase
    row = taps_of_a_row * c
    first = down.first_tap * row + across.first_tap * c
    width, size = width_of_vectors([w], c), matrix_pitch(w)
    taps = max(1, across.taps)
    fields = (
        Address(w, first),
        np.int64(k * size),
        int32(size),
        ints(down.tap_step * row, across.tap_step * c),
        *ints(c, down.taps),
        radix(tile.k, taps, k),
    )
    return Source(f"Filters<{width}>", fields, Operand(4, False), counted=k * size)
