"""Max-pools as part of other kernels: see kernels/pooled.cuh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops.cuda.launch import Address, Argument, int32
from minidl.ops.cuda.operands import ctype, pixel_pitch, sink, sink_tensors, width_of_vectors

WHOLE_BYTE = 4
"""Channels: as many make whole bytes of argmax, whatever it is packed in."""


@dataclass(frozen=True)
class PooledSink:
    """Where the result of a product goes, window by window: the op's epilogue is a max-pool."""

    pool: Op
    image: Tensor
    """What is never written."""
    block: tuple[int, int]

    @staticmethod
    def of(op: Op) -> PooledSink | None:
        pool = op.fusion.epilogue
        if pool is None or pool.original.contract.blocks is None:
            return None
        return PooledSink(pool, op.original.writes[0], pool.original.contract.blocks)

    @property
    def pixels(self) -> int:
        """Of the image, as far as windows cover it."""
        y = self.pool.writes[0]
        height, width = self.block
        return y.size // y.shape[-1] * height * width

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the pool's output."""
        height, width = self.pool.writes[0].shape[1:3]
        return height, width

    def fields(self) -> tuple[str, Argument]:
        y, argmax, *_ = self.pool.writes
        kind, to = sink(self.pool, y, pixel_pitch)
        bits, (height, width) = self.pool.attributes["bits"], self.block
        name = f"Pooled<{height}, {width}, {bits}, {ctype(self.image)}, {kind}, {self.width}>"
        return name, (to, Address(argmax), int32(argmax.shape[-1]))

    def columns(self, n: int) -> int:
        """Neighbours of n channels that a thread takes: whole bytes of argmax."""
        return max(WHOLE_BYTE, math.gcd(self.width, n))

    @property
    def width(self) -> int:
        """Elements that one store may take."""
        tensors = sink_tensors(self.pool, self.pool.writes[0])
        return width_of_vectors(tensors, *(pixel_pitch(t) for t in tensors))


@dataclass(frozen=True)
class Unpooling:
    """A max-pool's data gradient that a kernel makes while it reads: the op's prologue."""

    dy: Tensor
    argmax: Tensor
    block: tuple[int, int]
    bits: int

    @staticmethod
    def of(op: Op) -> Unpooling | None:
        pool = op.fusion.prologue
        if pool is None:
            return None
        (dy, argmax), attributes = pool.reads, pool.attributes
        return Unpooling(dy, argmax, attributes["window"].kernel, attributes["bits"])

    @property
    def kind(self) -> str:
        """The C++ type."""
        return f"Unpool<{ctype(self.dy)}, {self.block[0]}, {self.block[1]}, {self.bits}>"

    @property
    def fields(self) -> Argument:
        sizes = (int32(n) for n in (self.argmax.shape[-1], *self.dy.shape[1:3]))
        return Address(self.dy), Address(self.argmax), np.int64(pixel_pitch(self.dy)), *sizes
