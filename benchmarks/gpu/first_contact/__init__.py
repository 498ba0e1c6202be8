"""The first minutes on a GPU: what works, what is wrong, what is slow.

    python -m benchmarks.gpu first-contact --seconds 165 --out DIR

Each phase leaves time to those behind it: the shares are of `--seconds`.
"""

from __future__ import annotations

from benchmarks.gpu import compiling
from benchmarks.gpu.first_contact.table import table
from benchmarks.gpu.names import DEVICE
from benchmarks.gpu.worker import Phase

__all__ = ["PHASES", "table"]

FEW = 4
"""Workers that share the GPU where nothing is timed."""


def _of(place: str) -> str:
    return f"{__name__}.{place}"


PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.2),
    compiling.phase(_of("sources:compile_kernels"), most=0.3, least=0.1),
    Phase("ops", _of("correctness:ops"), most=0.25, least=0.1, workers=FEW, needs=DEVICE),
    Phase("modes", _of("correctness:modes"), most=0.15, least=0.05, workers=FEW, needs=DEVICE),
    Phase("steps", _of("steps:steps"), most=0.75, least=0.4, needs=DEVICE),
    Phase("in place", _of("correctness:in_place"), most=1.0, least=0.05, workers=FEW, needs=DEVICE),
)
