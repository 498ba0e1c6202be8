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
class Epilogue:
    """The end of a product's block: its results pass through shared memory and are stored."""

    instructions: float
    """Of one warp."""
    wavefronts: float
    """Of shared memory, of the block."""
    rounds: int
    """Turns in which it waits for what it reads of memory before it stores."""


@dataclass(frozen=True)
class Reread:
    """The operand of a product that blocks read again in every pass over its tiles, where the L2
    has not kept it: the rows for each column of tiles, or, in bands, the columns for each band."""

    nbytes: int
    """That one group and split of the sum takes."""
    parts: int
    """Groups and splits, one after the other."""
    tiles: int
    """Of one pass."""
    passes: int
    kept: int
    """Bytes that the L2 has to hold from one pass to the next."""


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
    epilogue: Epilogue | None = None
    reread: Reread | None = None

    @property
    def warps(self) -> int:
        """Of a block."""
        return -(-self.threads // 32)
