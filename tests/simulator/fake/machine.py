"""The machine: its driver and cards, what each allows, what is under way on it.

Limits: CUDA C++ Programming Guide, "Compute Capabilities", technical specifications.
"""

from __future__ import annotations

import os
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.simulator.build import SimulatorError
from tests.simulator.fake.errors import (
    CAPTURE_UNSUPPORTED,
    INSUFFICIENT_DRIVER,
    INVALID_DEVICE,
    NO_DEVICE,
    OUT_OF_MEMORY,
    CUDARuntimeError,
    Failure,
)

SHARED = 48 * 1024
"""Shared memory of a block that a kernel has without asking."""
SHARED_OPT_IN = {
    75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99, 121: 99,
}  # fmt: skip
"""KiB of a block's shared memory at most, by compute capability; a KiB more is the driver's."""
GRID = (2**31 - 1, 65_535, 65_535)
BLOCK = (1024, 1024, 64)
THREADS = 1024
PARAMETERS = 4096
"""Bytes of a kernel's parameters; 32,764 only from CUDA 12.1 and driver 530 on."""
CONTEXT = 400 * 2**20
"""Bytes that a context keeps of a card's memory: some such number."""

SEED = int(os.environ.get("MINIDL_TEST_SEED", secrets.randbits(32)))
"""Of the order in which streams run on: fresh in every session; MINIDL_TEST_SEED repeats one."""

Schedule = Literal["random", "lazy", "eager"]


@dataclass
class Card:
    """One GPU, as this process sees it."""

    capability: int = 90
    total: int = 85_520_809_984
    """Bytes; an H100's by default, so that plans are what they are without a device."""
    others: int = 0
    """Bytes that other processes hold."""
    allocations: dict[int, int] = field(default_factory=dict)
    """Bytes by address."""
    context: int = 0
    lost: int = 0
    """The status of the error that ended the context."""
    cause: Exception | None = None

    @property
    def free(self) -> int:
        held = sum(-(-size // 512) * 512 for size in self.allocations.values())
        return max(0, self.total - self.others - self.context - held)

    @property
    def name(self) -> str:
        return "NVIDIA H100 80GB HBM3" if self.capability == 90 else f"NVIDIA sm_{self.capability}"

    @property
    def shared_opt_in(self) -> int:
        return SHARED_OPT_IN[self.capability] * 1024


@dataclass
class Machine:
    """What is there, and what this process does with it."""

    cards: list[Card] = field(default_factory=lambda: [Card()])
    driver: int = 13000
    """CUDA's version that the driver has; 0: there is none."""
    runtime: int = 13000
    schedule: Schedule = "random"
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    current: list[int] = field(default_factory=lambda: [0])
    """Devices whose context is entered."""
    streams: dict[int, Any] = field(default_factory=dict)
    capturing: Any = None
    """The stream that is captured, if any."""
    pinned: dict[int, Any] = field(default_factory=dict)
    """Storage of pinned memory, by address."""
    under_way: Counter[int] = field(default_factory=Counter)
    """Copies that have not run yet, by the pinned memory they use."""
    fault: str = ""
    """What a GPU would punish with wrong numbers only."""

    def visible(self) -> list[Card]:
        """Those that CUDA_VISIBLE_DEVICES lets through: up to the first that is none."""
        names = os.environ.get("CUDA_VISIBLE_DEVICES")
        if names is None:
            return self.cards
        found = []
        for name in names.split(","):
            if not name.strip().isdigit() or int(name) >= len(self.cards):
                break
            found.append(self.cards[int(name)])
        return found

    def count(self) -> int:
        """cudaGetDeviceCount: a runtime works on every driver of its major version."""
        if self.driver // 1000 < self.runtime // 1000:
            raise CUDARuntimeError(INSUFFICIENT_DRIVER)
        if not self.visible():
            raise CUDARuntimeError(NO_DEVICE)
        return len(self.visible())

    def card(self, index: int | None = None) -> Card:
        """The card of that number, or the current one."""
        number = self.current[-1] if index is None else index
        if not 0 <= number < self.count():
            raise CUDARuntimeError(INVALID_DEVICE)
        return self.visible()[number]

    def enter(
        self,
        failure: Failure = CUDARuntimeError,
        may_capture: bool = True,
        card: Card | None = None,
    ) -> Card:
        """What every call does first: the card, by default the current one, whose context lives.

        may_capture: whether the call is allowed while a stream is captured. CuPy captures in the
        relaxed mode, which also lets memory be taken; a step has to do without either.
        """
        card = card or self.card()
        if self.fault:
            raise SimulatorError(self.fault)
        if card.lost:
            raise failure(card.lost) from card.cause
        if self.capturing is not None and not may_capture:
            self.capturing.invalid = True
            raise failure(CAPTURE_UNSUPPORTED)
        if not card.context:
            if card.free < CONTEXT:
                raise failure(OUT_OF_MEMORY)
            card.context = CONTEXT
        return card

    def progress(self) -> None:
        """Time goes by: what is under way runs on, as far as the schedule has it."""
        waiting = [stream for stream in self.streams.values() if stream.queue]
        while waiting and self.schedule != "lazy":
            if self.schedule == "random" and self.random.random() < 0.4:
                return
            stream = self.random.choice(waiting)
            stream.advance()
            waiting = [stream for stream in waiting if stream.queue]


MACHINE = Machine()


def reset(*capabilities: int, **fields: Any) -> Machine:
    """The machine anew: cards of these capabilities, by default one H100; nothing under way.

    What earlier tests left alive still belongs to the cards that they had.
    """
    cards = [Card(capability) for capability in capabilities or (90,)]
    print(f"MINIDL_TEST_SEED={SEED}")  # pytest shows it where a test fails
    MACHINE.__dict__.update(Machine(**{"cards": cards, **fields}).__dict__)
    return MACHINE
