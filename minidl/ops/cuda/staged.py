"""First layers: images of so few channels that their patches come by way of shared memory.

See `Staged` in kernels/conv2d.cu, which the names here are those of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minidl.ir import Shape, Tensor
from minidl.ops.cuda.launch import Address, Argument, division, int32, ints
from minidl.ops.cuda.operands import VECTOR_BYTES, ctype
from minidl.ops.cuda.product import Operand, Tile
from minidl.ops.window import Pair, Window

SIDE = 8
"""Pixels of a block down and across."""
BLOCK = SIDE * SIDE
SHARED = 99 * 1024
"""Bytes of shared memory of a block at most: every card of today has as much, and with more of it
fewer blocks fit on a multiprocessor of those that have more."""
FEW = 3
"""Channels at most."""
LARGEST_BOX = 48 * 1024
"""Bytes; beside it a main loop still fits."""
BOXES, COMFORTABLE = 8, 64 * 1024
"""Boxes that wgrad stages at once at most, and the shared memory that it takes for more than one:
beyond it, fewer blocks of threads fit on a multiprocessor."""


@dataclass(frozen=True)
class Staging:
    """How one convolution's images are cut into boxes."""

    window: Window
    x: Shape
    y: Shape
    itemsize: int
    """Bytes of an element of x."""

    @staticmethod
    def of(window: Window, groups: int, x: Tensor, y: Shape) -> Staging | None:
        """None where there are more than a few channels, or a box would be too large."""
        if x.shape[3] > FEW or groups > 1 or window.dilation[1] > 1:
            return None
        found = Staging(window, x.shape, y, x.itemsize)
        return found if found.room(1) <= LARGEST_BOX else None

    @property
    def blocks(self) -> tuple[int, int]:
        """Of one image, down and across."""
        return -(-self.y[1] // SIDE), -(-self.y[2] // SIDE)

    @property
    def pixels(self) -> int:
        """Of all blocks, those over the edge included."""
        return self.x[0] * math.prod(self.blocks) * BLOCK

    @property
    def vector(self) -> int:
        """Elements that one copy takes."""
        row, step = self.x[2] * self.x[3], SIDE * self.window.stride[1] * self.x[3]
        return math.gcd(VECTOR_BYTES // self.itemsize, row, step)

    @property
    def lead(self) -> int:
        """Elements of a box's row in front of the first that a patch needs."""
        return -self.window.padding[1] * self.x[3] % self.vector

    @property
    def box(self) -> tuple[int, int]:
        """Rows, and elements of a row."""
        (r, s), (u, v) = self.window.kernel, self.window.stride
        rows = (SIDE - 1) * u + (r - 1) * self.window.dilation[0] + 1
        row = self.lead + ((SIDE - 1) * v + s) * self.x[3]
        return rows, -(-row // self.vector) * self.vector

    def room(self, boxes: int) -> int:
        """Bytes of shared memory."""
        return -(-boxes * math.prod(self.box) * self.itemsize // 16) * 16

    def forward_room(self, tile: Tile) -> int:
        """Bytes that one tile's pixels need."""
        return self.room(max(1, tile.m // BLOCK))

    def forward_shared(self, tile: Tile) -> int | None:
        """Bytes of a block of forward; None: it does not fit."""
        loop = tile.shared_bytes(Operand(self.itemsize, True), Operand(4, True))
        needed = loop + self.forward_room(tile)
        return needed if needed <= SHARED else None

    def wgrad_boxes(self, tile: Tile) -> int:
        """Boxes beside the main loop; 0: it does not fit."""
        loop = self._wgrad_loop(tile)
        several = next((n for n in range(BOXES, 0, -1) if loop + self.room(n) <= COMFORTABLE), 0)
        return several or int(loop + self.room(1) <= SHARED)

    def wgrad_shared(self, tile: Tile) -> int | None:
        """Bytes of a block of wgrad; None: it does not fit."""
        boxes = self.wgrad_boxes(tile)
        return self._wgrad_loop(tile) + self.room(boxes) if boxes else None

    def _wgrad_loop(self, tile: Tile) -> int:
        return tile.shared_bytes(Operand(self.itemsize, False), Operand(self.itemsize, False))

    def takes(self, x: Tensor, block: Pair = (1, 1)) -> bool:
        """Whether x has no gaps, and blocks are whole windows."""
        return x.contiguous and SIDE % block[0] == 0 and SIDE % block[1] == 0

    def kind(self, x: Tensor, k_major: bool, block: Pair = (1, 1)) -> str:
        """The C++ type of patches of x."""
        windows = "" if block == (1, 1) else f", {block[0]}, {block[1]}"
        return f"Staged<{ctype(x)}, {self.vector}, {str(k_major).lower()}{windows}>"

    def fields(self, x: Tensor, boxes: int = 1) -> Argument:
        """The fields of `Staged`."""
        (_, h, w, c), (u, v), (top, left) = self.x, self.window.stride, self.window.padding
        (rows, pitch), (down, across) = self.box, self.blocks
        taps = self.window.kernel[1] * c
        return (
            Address(x),
            np.int64(h * w * c),
            *ints(w * c, h, *self.y[1:3]),
            *ints(SIDE * u, -top, SIDE * v * c, -left * c - self.lead),
            *ints(rows * pitch, pitch, self.lead),
            ints(u * pitch, v * c),
            *ints(self.window.dilation[0] * pitch, self.pixels),
            *ints(self.window.kernel[0] * taps, boxes),
            *(division(n) for n in (down * across, across, taps)),
            *(division(n) for n in (rows * pitch // self.vector, pitch // self.vector)),
            np.uint64(0),
            int32(0),
        )

    def rows(self, size: Pair, block: Pair = (1, 1)) -> tuple[str, Argument]:
        """`BlockRows` to an image of that size, of one pixel for each window of `block`."""
        down, across = self.blocks
        fields = (division(down * across), division(across), *ints(*size))
        return f"BlockRows<{block[0]}, {block[1]}>", fields
