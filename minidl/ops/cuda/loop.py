"""Loop: what a matrix product's kernel does, as far as its time depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ops.cuda.product import Operand, Product
from minidl.roofline import MainLoop, Shape
from minidl.roofline import Operand as CountedOperand


@dataclass(frozen=True)
class Side:
    """One operand: its source's C++ type, and how its elements lie."""

    kind: str
    operand: Operand

    @property
    def counted(self) -> CountedOperand:
        return CountedOperand(self.kind, self.operand.itemsize)


@dataclass(frozen=True)
class Loop:
    """A product with its sources and what becomes of its results."""

    product: Product
    a: Side
    b: Side
    piece: int
    """Results that a thread stores at once."""
    divides: bool
    """Whether the place of a row of the result is divided for."""
    free: bool
    """Whether another tile could run it too: its sources know nothing of tiles."""
    splittable: bool
    """Whether its sum could be split."""

    @property
    def main(self) -> MainLoop:
        tile = self.product.tile
        shape = Shape(tile.unit, tile.m, tile.n, tile.k, tile.share)
        return MainLoop(shape, self.a.counted, self.b.counted)

    @property
    def stages(self) -> int:
        """Of one block."""
        product = self.product
        return -(-min(product.k_of_a_split, product.problem.k) // product.tile.k)

    @property
    def down(self) -> int:
        """Tiles of a column of the result."""
        return -(-self.product.problem.m // self.product.tile.m)

    @property
    def across(self) -> int:
        """Columns of tiles."""
        return -(-self.product.problem.n // self.product.tile.n)

    @property
    def blocks(self) -> int:
        return self.down * self.across * self.product.problem.groups * self.product.splits

    @property
    def pieces(self) -> int:
        """Parts of its results that a thread stores one after the other."""
        tile = self.product.tile
        return tile.m * tile.n // tile.threads // self.piece

    @property
    def shared(self) -> int:
        """Bytes of a block, of the main loop alone."""
        return self.product.tile.shared_bytes(self.a.operand, self.b.operand)
