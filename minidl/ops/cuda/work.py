"""What the launches of an op ask of a card: the numbers that the model of time takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from minidl.ir import Op, Tensor
from minidl.ir.card import Card
from minidl.ops.cuda.launch import Address, Argument, Launch, Loop
from minidl.roofline import Count, Counts, Pieces, Reread, Stages, Work

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
    count = counts.of(loop.main, card.architecture, launch.kernel)
    rows = sum(t.nbytes for t in tensors_in(launch.arguments[0]))
    reread = Reread(rows // loop.splits, loop.splits, loop.down, loop.across)
    return Work(
        blocks,
        launch.threads,
        moved,
        shared=launch.shared,
        registers=count.registers,
        stages=_stages(loop, count),
        pieces=_pieces(op, loop, count),
        reread=reread,
    )


def _access(moved: float, threads: int, of: dict[Tensor, int]) -> int:
    """Bytes that a thread reads of each large tensor: a power of two."""
    sizes = of.values()
    large = sum(size * 2 >= max(sizes) for size in sizes)
    each = moved / threads / max(1, large)
    return min(WIDEST, 1 << max(1, round(math.log2(max(1.0, each)))))


def _stages(loop: Loop, count: Count) -> Stages:
    main = loop.main
    each = main.operations, count.instructions, count.wavefronts, main.copied
    return Stages(main.shape.unit, loop.stages, *each)


def _pieces(op: Op, loop: Loop, count: Count) -> Pieces:
    """Split sums go to scratch, without what follows. What follows and reads waits in as many
    rounds as were counted, else at each piece."""
    shape, follower, between = loop.main.shape, op.fusion.epilogue, op.fusion.between
    reads = follower.reads if follower is not None and loop.splits == 1 else ()
    waits = any(t is not between and t.shape != () for t in reads)
    pieces = shape.m * shape.n // shape.threads // loop.piece
    rounds = pieces if count.rounds is None else count.rounds
    return Pieces(pieces, rounds if waits else 0, loop.divides)


def estimated(launch: Launch, card: Card, counts: Counts) -> bool:
    """Whether its main loop's counts are those of another."""
    loop, chip = launch.loop, card.architecture
    return loop is not None and counts.of(loop.main, chip, launch.kernel).estimated
