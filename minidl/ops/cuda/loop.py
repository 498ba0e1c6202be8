"""Loop: what a matrix product's kernel does, as far as its time depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ops.cuda.bands import band_of
from minidl.ops.cuda.passage import Passage
from minidl.ops.cuda.product import Operand, Product
from minidl.roofline import MainLoop, Shape
from minidl.roofline import Operand as CountedOperand


@dataclass(frozen=True)
class Side:
    """One operand: its source's C++ type, how its elements lie, and how many bytes it has before
    anything was fused in front of it."""

    kind: str
    operand: Operand
    nbytes: int

    @property
    def counted(self) -> CountedOperand:
        return CountedOperand(self.kind, self.operand.itemsize)


@dataclass(frozen=True)
class Loop:
    """A product with its sources and what becomes of its results."""

    product: Product
    a: Side
    b: Side
    vector: int
    """Results side by side that a thread stores at once."""
    taps: int
    """Rows of the result of which one is made: of a pooling window."""
    divides: bool
    """Whether the place of a row of the result is divided for."""
    free: bool
    """Whether another tile could run it too: its sources know nothing of tiles."""
    splittable: bool
    """Whether its sum could be split."""
    cache: int
    """Bytes of the card's L2."""

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
    def band(self) -> int:
        """Tiles of a column that are a band; all of them: no bands."""
        product = self.product
        a, b = (side.nbytes // product.parts for side in (self.a, self.b))
        return band_of(product.down, product.across, (a, b), self.cache)

    @property
    def passage(self) -> Passage:
        """How a tile leaves its block."""
        tile = self.product.tile
        divides = self.divides and self.product.splits == 1
        return Passage(tile, self.shared, self.vector, self.taps, divides)

    @property
    def shared(self) -> int:
        """Bytes of a block, of the main loop alone."""
        return self.product.tile.shared_bytes(self.a.operand, self.b.operand)
