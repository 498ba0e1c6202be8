"""What the launches of an op ask of a card: the numbers that the model of time takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from minidl.ir import Op, Tensor
from minidl.ir.card import Card
from minidl.ops.cuda.launch import Address, Argument, Launch
from minidl.ops.cuda.loop import Loop
from minidl.ops.cuda.product import SCRATCH, SPLITS, TILES, Product, Tile, may_split
from minidl.roofline import Counts, Reread, Stages, Work

WIDEST = 16
"""Bytes that a thread reads at once at most."""


def works_of(op: Op, launches: Sequence[Launch], card: Card, counts: Counts) -> list[Work]:
    """Of each of the op's launches. What several launches share, such as the phases of a strided
    data gradient, counts once: it is moved once in all."""
    touched = [_touched(op, launch, k) for k, launch in enumerate(launches)]
    tensors = sum(sum(of.values()) for of, _ in touched)
    share = op.bytes_moved / tensors if tensors else 0.0
    return [
        _work(op, launch, share * sum(of.values()) + scratch, of, card, counts)
        for launch, (of, scratch) in zip(launches, touched, strict=True)
    ]


def _touched(op: Op, launch: Launch, position: int) -> tuple[dict[Tensor, int], int]:
    """Bytes that a launch reads and writes: of the op's tensors each, and of scratch in all."""
    found: dict[Tensor, int] = {}
    scratch = 0
    for t in dict.fromkeys(tensors_in(launch.arguments)):
        if t.kind == "scratch":
            scratch += t.nbytes
        else:
            found[t] = t.nbytes * max(1, (t in op.reads) + (t in op.writes))
    return found, scratch


def tensors_in(argument: Argument) -> Iterator[Tensor]:
    """The tensors whose addresses are in an argument."""
    if isinstance(argument, Address):
        yield argument.tensor
    elif isinstance(argument, tuple):
        for field in argument:
            yield from tensors_in(field)


def _work(
    op: Op, launch: Launch, moved: float, of: dict[Tensor, int], card: Card, counts: Counts
) -> Work:
    blocks, loop = math.prod(launch.grid), launch.loop
    if loop is None:
        access = launch.access or _access(moved, blocks * launch.threads, of)
        return Work(blocks, launch.threads, moved, access, launch.shared)
    reads = loop.product.splits == 1 and _follower_reads(op)
    work = work_of_product(loop, moved, sources_of(launch), reads, card, counts, launch.kernel)
    return replace(work, shared=launch.shared)


Sources = tuple[int, int]
"""Bytes in memory of what a product's two sources read."""


def sources_of(launch: Launch) -> Sources:
    a, b = (sum(t.nbytes for t in tensors_in(each)) for each in launch.arguments[:2])
    return a, b


def work_of_product(
    loop: Loop,
    moved: float,
    sources: Sources,
    reads: bool,
    card: Card,
    counts: Counts,
    kernel: str = "",
) -> Work:
    """Of a product's kernel; reads: whether what follows reads."""
    main = loop.main
    count = counts.of(main, card.architecture, kernel)
    each = main.operations, count.instructions, count.wavefronts, main.copied
    return Work(
        loop.product.blocks,
        loop.product.tile.threads,
        moved,
        shared=loop.shared,
        registers=count.registers,
        stages=Stages(main.shape.unit, loop.stages, *each),
        epilogue=loop.passage.epilogue(reads, count.rounds),
        reread=_reread(loop, sources),
    )


def _reread(loop: Loop, sources: Sources) -> Reread:
    """Down whole columns a is read for each of them; in bands b for each band, beside whose rows
    it lies in the L2."""
    a, b = (nbytes // loop.product.parts for nbytes in sources)
    bands = -(-loop.product.down // loop.band)
    if bands == 1:
        return Reread(a, loop.product.parts, loop.product.down, loop.product.across, kept=a)
    return Reread(
        b, loop.product.parts, loop.band * loop.product.across, bands, kept=b + a // bands
    )


def _access(moved: float, threads: int, of: dict[Tensor, int]) -> int:
    """Bytes that a thread reads of each large tensor: a power of two."""
    sizes = of.values()
    large = sum(size * 2 >= max(sizes) for size in sizes)
    each = moved / threads / max(1, large)
    return min(WIDEST, 1 << max(1, round(math.log2(max(1.0, each)))))


def _follower_reads(op: Op) -> bool:
    """Whether what was fused behind the op reads more than the op's result."""
    follower, between = op.fusion.epilogue, op.fusion.between
    reads = follower.reads if follower is not None else ()
    return any(t is not between and t.shape != () for t in reads)


def estimated(launch: Launch, card: Card, counts: Counts) -> bool:
    """Whether its main loop's counts are those of another."""
    loop, chip = launch.loop, card.architecture
    return loop is not None and counts.of(loop.main, chip, launch.kernel).estimated


# -- other tiles -----------------------------------------------------------------------------------

Choice = tuple[str, int]
"""A tile's name and the splits of the sum, as a tuning file has them."""


def alternatives(
    op: Op, launches: Sequence[Launch], card: Card, counts: Counts
) -> Iterator[tuple[Choice, list[Work]]]:
    """What the op's launches would ask for with each tile and split that the card could run it
    with, its own among them; nothing where its tile is not free or it is no one product."""
    loops = [launch.loop for launch in launches if launch.loop is not None]
    if not loops or not all(loop.free for loop in loops):
        return
    own = loops[0].product
    for tile in (tile for tile in TILES if tile.unit == own.tile.unit):
        if (
            tile.shared_bytes(loops[0].a.operand, loops[0].b.operand)
            > card.limits.shared_of_a_block
        ):
            continue
        for splits in SPLITS if all(loop.splittable for loop in loops) else (1,):
            if splits == 1 or may_split(own.problem, tile, splits, SCRATCH):
                others = [_with(loop, tile, splits) for loop in loops]
                yield (tile.name, splits), _works_with(op, launches, others, card, counts)


def _with(loop: Loop, tile: Tile, splits: int) -> Loop:
    return replace(loop, product=Product(loop.product.problem, tile, splits))


def _works_with(
    op: Op, launches: Sequence[Launch], loops: Sequence[Loop], card: Card, counts: Counts
) -> list[Work]:
    """With these loops instead: where the sum is split, partial sums are written and read again by
    a launch that then does what follows."""
    sources = [sources_of(launch) for launch in launches if launch.loop is not None]
    taken = sum(sources[0])
    given = op.bytes_moved - taken
    partial = sum(4 * loop.product.scratch for loop in loops)
    if partial:
        first = work_of_product(loops[0], taken + partial, sources[0], False, card, counts)
        threads = -(-partial // 4 // loops[0].product.splits // 4)
        return [first, Work(-(-threads // 256), 256, partial + given)]
    reads, share = _follower_reads(op), op.bytes_moved / len(loops)
    return [
        work_of_product(loop, share, each, reads, card, counts)
        for loop, each in zip(loops, sources, strict=True)
    ]
