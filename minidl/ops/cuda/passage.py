"""How a tile leaves its block: by way of shared memory, `Gemm::give` in kernels/gemm.cuh."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ops.cuda.product import Tile
from minidl.roofline import CONSTANTS, Constants, Epilogue
from minidl.roofline.counts import WAVEFRONT

PADDING = 8
"""Numbers beside each row of `TileRows`."""
MOST_VECTORS = 4
"""That a thread holds at once."""


@dataclass(frozen=True)
class Passage:
    """What a block does behind its main loop."""

    tile: Tile
    shared: int
    """Bytes of shared memory, which the main loop needs no more."""
    vector: int
    """Results side by side that a thread stores at once."""
    taps: int
    """Rows of the result of which one is made."""
    divides: bool
    """Whether the place of a row is divided for."""

    @property
    def rows(self) -> int:
        """Of the tile that find room at once."""
        m, fit = self.tile.m, self.shared // (4 * (self.tile.n + PADDING))
        return next(part for part in (m, m // 2, m // 4) if fit >= part or part == m // 4)

    @property
    def portions(self) -> int:
        """Times that rows go through."""
        return self.tile.m // self.rows

    @property
    def results(self) -> int:
        """Of a thread."""
        return self.tile.m * self.tile.n // self.tile.threads

    @property
    def turns(self) -> int:
        """In each of which a thread loads what it needs for some vectors before it stores one."""
        held = self.results // 2 // (self.vector * self.taps)
        at_once = min(max(1, held), MOST_VECTORS)
        stride = self.tile.threads * self.vector // self.tile.n * self.taps
        return self.portions * -(-self.rows // (stride * at_once))

    def epilogue(self, reads: bool, rounds: int, constants: Constants = CONSTANTS) -> Epilogue:
        """What that asks for: instructions are estimated; `reads`: whether what follows reads, in
        so many rounds a turn."""
        tile, c = self.tile, constants
        fragment = 4 if tile.unit == "simt" else 2
        passed = self.results / fragment * c.passed * (1 + self.portions) / 2
        each = c.vector + self.vector * (c.result + c.read_result * reads)
        divided = tile.m / tile.threads * c.divided_row * self.divides
        instructions = passed + self.results / self.vector * each + divided
        wavefronts = 2 * 4 * tile.m * tile.n / WAVEFRONT
        return Epilogue(instructions, wavefronts, self.turns * rounds if reads else 0)
