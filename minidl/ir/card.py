"""Card: the GPU that a plan is made for, as numbers; `minidl.cards` has the known ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """What every chip of one compute capability has: limits of a multiprocessor and of a block.

    Source: https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/compute-capabilities.html
    """

    name: str
    """What kernels are compiled for, say sm_90a."""
    capability: int
    """Major and minor version as one number: 90."""
    threads: int
    """Resident on one multiprocessor at most."""
    blocks: int
    """Likewise."""
    shared: int
    """Bytes of shared memory of a multiprocessor."""
    shared_of_a_block: int
    """Bytes that one block may ask for."""
    registers: int = 65536
    """Of 32 bits, of a multiprocessor."""
    schedulers: int = 4
    """Instructions of a warp that a multiprocessor issues a clock."""
    shared_bandwidth: int = 128
    """Bytes a clock of a multiprocessor's shared memory: 32 banks of 4."""
    mma: float = 1.0
    """Part of the tensor cores' peak that mma.sync reaches."""


@dataclass(frozen=True)
class Peaks:
    """Floating-point operations a second of the whole chip, dense, added up in float32."""

    simt: float
    """float32 on the ordinary units."""
    tf32: float
    bf16: float

    def of(self, unit: str) -> float:
        """By the name of a main loop's unit: simt, tf32 or bf16."""
        return {"simt": self.simt, "tf32": self.tf32, "bf16": self.bf16}[unit]

    def times(self, factor: float) -> Peaks:
        return Peaks(self.simt * factor, self.tf32 * factor, self.bf16 * factor)


@dataclass(frozen=True)
class Card:
    """One kind of GPU. Bytes, bytes a second, hertz."""

    name: str
    """What `--gpu` takes, or what the driver calls a card that is in no table."""
    title: str
    limits: Architecture
    multiprocessors: int
    l2: int
    memory: int
    kept: int
    """Of `memory`, what driver, CUDA context and error correction keep."""
    clock: float
    """The boost clock."""
    peaks: Peaks
    bandwidth: float
    """Of its memory."""
    pcie: float
    """Of its bus, one way."""
    l2_bandwidth: float
    """Of the L2, all multiprocessors together, at the boost clock."""
    launch: float = 1.2e-6
    """Seconds from the end of a kernel to the next one's beginning, in a CUDA graph."""
    sources: tuple[str, ...] = ()
    """Links."""
    aliases: tuple[str, ...] = ()
    """Other names, the driver's among them."""
    assumed: tuple[str, ...] = ("kept", "launch")
    """Fields that nobody has measured or published for this card."""

    @property
    def architecture(self) -> str:
        """What its kernels are compiled for, say sm_90a."""
        return self.limits.name

    @property
    def free(self) -> int:
        """Bytes that an arena can have."""
        return self.memory - self.kept
