"""What the model of time takes for granted of every card, in one table with sources.

What differs from card to card stands in `minidl.cards`, what is counted in machine code in
kernels/resources/instructions.csv.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

REVIEW = "assumed in the review of the kernels"
"""The launch-by-launch estimate whose figures docs/roofline.md compares with the model's."""
ESTIMATE = "estimated from nine kernels of sm_80 and sm_90a by NVRTC 13.5"
"""Read off their disassembly: `benchmarks.resources --loops` counts main loops alone."""
FITTED = "assumed: what comes nearest to the review's shares of the peak"


def constant(value: float, unit: str, source: str) -> Any:
    """A row of the table."""
    return field(default=value, metadata={"unit": unit, "source": source})


@dataclass(frozen=True)
class Constants:
    """The table: each field is a constant with its unit and its source."""

    l2_port: float = constant(
        40,
        "bytes a clock that one multiprocessor takes from the L2",
        f"{REVIEW}; 5,120 a clock of the A100's and H100's L2, shared out, are 47 and 39",
    )
    latency: float = constant(
        650, "clocks until a load from memory is there", f"{REVIEW}: 600 to 700"
    )
    fill: float = constant(
        1000,
        "clocks of a block before its first stage: one latency, and its addresses",
        "assumed",
    )
    overlap: float = constant(
        2,
        "p: the resources of a stage take (sum of each to the p) to the 1/p, p one more with each "
        "further block that a multiprocessor has",
        FITTED,
    )
    most_overlap: float = constant(4, "p at most", "assumed")
    passed: float = constant(
        12,
        "instructions of a warp that write a fragment of its tile to shared memory, 2 results a "
        "thread (simt: 4); half of it more each further time that rows go through",
        f"{ESTIMATE}: 244 and 430 between main loop and stores, for 32 fragments",
    )
    vector: float = constant(
        14, "the same, that take a vector from there and store it", f"{ESTIMATE}, with the next"
    )
    result: float = constant(
        4,
        "the same, for each result of a vector",
        f"{ESTIMATE}: 44 for 8 in bf16, 28 for 4 float32",
    )
    read_result: float = constant(
        5,
        "more of them where what follows reads",
        f"{ESTIMATE}: 60 for 8 of a ReLU's gradient, 13 for 4 of an update",
    )
    divided_row: float = constant(
        60, "the same, that divide to find the place of a row", f"{ESTIMATE}: 59 of BlockRows"
    )
    share_of_16: float = constant(
        0.85, "part of a memory's bandwidth that loads of 16 bytes reach", REVIEW
    )
    share_of_8: float = constant(
        0.62, "the same of 8 bytes", f"{REVIEW}: 55 to 70 % of batch normalization's kernels"
    )
    share_of_4: float = constant(0.55, "the same of 4 bytes", "assumed")
    share_of_2: float = constant(0.5, "the same of 2 bytes", f"{REVIEW}, of reductions")

    def share(self, access: int) -> float:
        """Part of a memory's bandwidth that loads of `access` bytes reach."""
        if access >= 16:
            return self.share_of_16
        if access >= 8:
            return self.share_of_8
        return self.share_of_4 if access >= 4 else self.share_of_2

    def rows(self) -> Iterator[tuple[str, float, str, str]]:
        """Name, value, what it is, and where it is from."""
        for each in fields(self):
            meta = each.metadata
            yield each.name, getattr(self, each.name), meta["unit"], meta["source"]


CONSTANTS = Constants()
