"""Max-pools as part of other kernels: see kernels/pooled.cuh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.ir import Op, Shape, Tensor
from minidl.launches.launch import Address, Argument
from minidl.launches.operands import ctype, pixel_pitch, sink, sink_tensors, width_of_vectors


@dataclass(frozen=True)
class PooledSink:
    """Where the result of a product goes, window by window: the op's epilogue is a max-pool."""

    op: Op

    @property
    def pool(self) -> Op:
        assert self.op.epilogue is not None
        return self.op.epilogue

    @property
    def block(self) -> tuple[int, int]:
        height, width = self.pool.original.attributes["window"].kernel
        return height, width

    @property
    def pixels(self) -> int:
        """Of the picture, as far as windows cover it."""
        y = self.pool.writes[0]
        height, width = self.block
        return y.size // y.shape[-1] * height * width

    def fields(self) -> tuple[str, Argument]:
        y, argmax, *_ = self.pool.writes
        kind, to = sink(self.pool, y, pixel_pitch)
        bits, (height, width) = self.pool.attributes["bits"], self.block
        picture = ctype(self.op.original.writes[0])
        name = f"Pooled<{height}, {width}, {bits}, {picture}, {kind}>"
        return name, (to, Address(argmax), np.int32(argmax.shape[-1]))

    def width(self) -> int:
        """Elements that one store may take."""
        tensors = sink_tensors(self.pool, self.pool.writes[0])
        return width_of_vectors(tensors, *(pixel_pitch(t) for t in tensors))


@dataclass(frozen=True)
class Unpooling:
    """A max-pool's data gradient that a kernel makes while it reads: the op's prologue."""

    dy: Tensor
    argmax: Tensor
    picture: Shape
    """Of the gradient that is not there."""
    block: tuple[int, int]
    bits: int

    @staticmethod
    def of(op: Op) -> Unpooling | None:
        if op.prologue is None:
            return None
        (dx,), (dy, argmax) = op.prologue.writes, op.prologue.reads
        attributes = op.prologue.attributes
        return Unpooling(dy, argmax, dx.shape, attributes["window"].kernel, attributes["bits"])

    @property
    def covered(self) -> tuple[int, int]:
        """Rows and columns of the picture that are in a window."""
        return self.dy.shape[1] * self.block[0], self.dy.shape[2] * self.block[1]

    @property
    def sizes(self) -> str:
        """Template arguments."""
        return f"{self.block[0]}, {self.block[1]}, {self.bits}"

    @property
    def windows(self) -> tuple[np.generic, ...]:
        """Bytes of argmax in a pixel; windows down and across."""
        return tuple(np.int32(n) for n in (self.argmax.shape[-1], *self.dy.shape[1:3]))
