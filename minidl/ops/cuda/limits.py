"""What a card can launch, and the one place where launches are held against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minidl.ir import LimitError, Op
from minidl.ir.card import Card
from minidl.ops.cuda.launch import COUNTED, Launch, described, layout
from minidl.ops.cuda.staged import SHARED


@dataclass(frozen=True)
class Limits:
    """What one launch may ask of a card; by default what every card of sm_80 and newer gives.

    Source: CUDA C++ Programming Guide, technical specifications by compute capability:
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#features-and-technical-specifications
    """

    grid: tuple[int, int, int] = (2**31 - 1, 65_535, 65_535)
    """Blocks along x, y and z."""
    threads: int = 1024
    """Of a block."""
    shared: int = SHARED
    """Bytes of shared memory of a block that asks for it."""
    parameters: int = 4096
    """Bytes of a kernel's parameters, with every driver."""

    @staticmethod
    def of(card: Card) -> Limits:
        return Limits(shared=card.limits.shared_of_a_block)


ANY_CARD = Limits()

SMALLER = "use a smaller batch, or smaller images"
NARROWER = "use fewer channels, or fewer inputs"
LESS_ALONG = {"x": SMALLER, "y": NARROWER, "z": "use fewer groups"}
"""What a grid's axes count: of products along x tiles, along z groups with their splits."""


def require_launchable(op: Op, launches: Iterable[Launch], limits: Limits = ANY_CARD) -> None:
    """LimitError, naming the op and its shapes, unless the card can launch these kernels of it."""
    for launch in launches:
        for what, asked, most, way_out in _asked(launch, limits):
            if asked > most:
                raise LimitError(
                    f"{described(op)}: its kernel {launch.name} needs {asked:,} {what}, "
                    f"{most:,} is the most there can be",
                    way_out,
                )


def _asked(launch: Launch, limits: Limits) -> Iterator[tuple[str, int, int, str]]:
    """What a launch asks for: of what, how much, how much there is, and what makes it less."""
    for axis, blocks, most in zip(LESS_ALONG, launch.grid, limits.grid, strict=True):
        yield f"blocks along {axis} of its grid", blocks, most, LESS_ALONG[axis]
    yield "threads in a block", launch.threads, limits.threads, SMALLER
    yield "counts in an index of 31 bits", launch.counted, COUNTED, SMALLER
    yield "bytes of shared memory in a block", launch.shared, limits.shared, NARROWER
    yield "bytes of parameters", layout(launch.arguments)[0], limits.parameters, NARROWER
