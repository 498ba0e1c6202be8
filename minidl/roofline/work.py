"""Work: what one launch asks of a card, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stages:
    """The main loop of a matrix product: what one block asks for in each of its stages."""

    unit: str
    """simt, tf32 or bf16."""
    count: int
    """Of one block."""
    operations: int
    """A multiply-add is two."""
    instructions: float
    """Of one warp."""
    wavefronts: float
    """Of shared memory, 128 bytes each."""
    copied: int
    """Bytes from the L2 to shared memory."""


@dataclass(frozen=True)
class Pieces:
    """The end of a product's block: its results are stored in pieces, one after the other."""

    count: int
    """Of one thread."""
    rounds: int
    """Turns in which it waits for what it reads of memory before it stores."""
    divides: bool
    """Whether the place of its row is divided for."""


@dataclass(frozen=True)
class Reread:
    """The rows of a product that are read again for each column of tiles, where the L2 has not
    kept them: blocks walk down the rows first."""

    nbytes: int
    """Of the rows that one split of the sum takes."""
    splits: int
    down: int
    """Tiles of a column."""
    across: int
    """Columns of tiles."""


@dataclass(frozen=True)
class Work:
    """What one launch asks for."""

    blocks: int
    threads: int
    """Of a block."""
    moved: float
    """Bytes that it reads and writes in memory at least."""
    access: int = 16
    """Bytes that a thread reads at once."""
    shared: int = 0
    """Bytes of shared memory of a block."""
    registers: int = 32
    """Of a thread."""
    stages: Stages | None = None
    pieces: Pieces | None = None
    reread: Reread | None = None

    @property
    def warps(self) -> int:
        """Of a block."""
        return -(-self.threads // 32)
