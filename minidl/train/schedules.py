"""Learning-rate schedules: a factor of the base rate, by where a run stands.

A schedule is frozen data; `factor` is a pure function. What a schedule has to remember (Plateau
alone does) is a dictionary of numbers that the trainer keeps and checkpoints carry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial

from minidl.ir.calls import called
from minidl.ir.readers import COUNT, SHARE, instance, real, several, whole

Memory = Mapping[str, float]
"""What a schedule remembers from one epoch to the next."""


@dataclass(frozen=True)
class Position:
    """Where a run stands: `step` steps are done of `epochs` epochs of `steps_per_epoch` each."""

    step: int
    steps_per_epoch: int
    epochs: int

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.epochs


RATE = real(0)
BELOW = real(0, 1, below=True)
POSITIVE = real(0, above=True)
TIMES = whole(0)

STEPPED = "leave the optimizer out: the trainer has it"
"""Hint where PyTorch's habit brings one more argument."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate of a step is the base rate times `factor`."""

    def factor(self, at: Position, memory: Memory) -> float:
        """The factor of the step that comes after `at.step` steps."""
        raise NotImplementedError

    def observe(self, memory: Memory, value: float) -> Memory:
        """What to remember once an epoch ended with the loss `value`."""
        return memory


@called(STEPPED)
@dataclass(frozen=True)
class Constant(Schedule):
    """1: the learning rate as it was set."""

    def factor(self, at: Position, memory: Memory) -> float:
        return 1.0


@called(STEPPED, {"size": COUNT, "gamma": RATE}, step_size="size")
@dataclass(frozen=True)
class StepDecay(Schedule):
    """gamma^(epoch // size), PyTorch's StepLR."""

    size: int = 30
    gamma: float = 0.1

    def factor(self, at: Position, memory: Memory) -> float:
        return float(self.gamma ** (at.epoch // self.size))


@called(STEPPED, {"milestones": several(COUNT), "gamma": RATE})
@dataclass(frozen=True)
class MultiStep(Schedule):
    """gamma^(number of milestones, in epochs, that are reached), PyTorch's MultiStepLR."""

    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    def factor(self, at: Position, memory: Memory) -> float:
        return float(self.gamma ** sum(m <= at.epoch for m in self.milestones))


@called(STEPPED, {"gamma": RATE})
@dataclass(frozen=True)
class Exponential(Schedule):
    """gamma^epoch, PyTorch's ExponentialLR."""

    gamma: float = 0.95

    def factor(self, at: Position, memory: Memory) -> float:
        return float(self.gamma**at.epoch)


@called(
    "write Cosine(), a run's epochs are the trainer's; minimum= is a share of the learning rate",
    {"minimum": SHARE},
    T_max="",
    eta_min="minimum",
    decay_steps="",
)
@dataclass(frozen=True)
class Cosine(Schedule):
    """m + (1 - m) (1 + cos(pi done)) / 2, done = step / steps, m = `minimum`.

    Loshchilov and Hutter 2017 without restarts; PyTorch's CosineAnnealingLR stepped every step.
    """

    _: KW_ONLY
    minimum: float = 0.0

    def factor(self, at: Position, memory: Memory) -> float:
        done = min(1.0, at.step / max(1, at.steps))
        return self.minimum + (1 - self.minimum) * (1 + math.cos(math.pi * done)) / 2


AFTER = instance(Schedule, hint="write Warmup(Cosine(), epochs=5)")


@called(
    "write Warmup(Cosine(), epochs=5): it stands around another schedule",
    {"after": AFTER, "epochs": TIMES, "start": RATE},
)
@dataclass(frozen=True)
class Warmup(Schedule):
    """start + (1 - start) step / n in the first n = epochs steps_per_epoch steps, then `after`.

    `after` sees a run that begins when the warm-up ends, as in torchvision's reference scripts
    (SequentialLR of LinearLR); `start` is their --lr-warmup-decay, here stepped every step.
    """

    after: Schedule
    _: KW_ONLY
    epochs: int = 5
    start: float = 0.01

    def factor(self, at: Position, memory: Memory) -> float:
        steps = self.epochs * at.steps_per_epoch
        if at.step < steps:
            return self.start + (1 - self.start) * at.step / steps
        rest = Position(at.step - steps, at.steps_per_epoch, max(0, at.epochs - self.epochs))
        return self.after.factor(rest, memory)

    def observe(self, memory: Memory, value: float) -> Memory:
        return self.after.observe(memory, value)


@called(
    "write OneCycle(): the optimizer's rate is the highest, a run's steps are the trainer's",
    {"share": real(0, 1, above=True, below=True), "div": POSITIVE, "final_div": POSITIVE},
    max_lr="",
    total_steps="",
    epochs="",
    steps_per_epoch="",
    pct_start="share",
    div_factor="div",
    final_div_factor="final_div",
)
@dataclass(frozen=True)
class OneCycle(Schedule):
    """From 1 / div up to 1, then down to 1 / (div final_div), each along half a cosine.

    Smith and Topin 2018; PyTorch's OneCycleLR with two phases, the base rate as max_lr. `share`
    of the steps goes up. Momentum does not cycle: it is a constant of the compiled step.
    """

    _: KW_ONLY
    share: float = 0.3
    div: float = 25.0
    final_div: float = 1e4

    def factor(self, at: Position, memory: Memory) -> float:
        low, top, last = 1 / self.div, self.share * at.steps - 1, at.steps - 1
        if at.step <= top:
            return _along_cosine(low, 1.0, at.step / top if top else 1.0)
        down = (min(at.step, last) - top) / (last - top) if last > top else 1.0
        return _along_cosine(1.0, low / self.final_div, down)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@called(
    "write Plateau(gamma=0.1, patience=10): the loss is watched",
    {
        "gamma": BELOW,
        "patience": TIMES,
        "threshold": BELOW,
        "cooldown": TIMES,
        "minimum": SHARE,
    },
    mode="",
    factor="gamma",
    min_lr="minimum",
)
@dataclass(frozen=True)
class Plateau(Schedule):
    """Times gamma whenever the loss has not improved for more than `patience` epochs.

    PyTorch's ReduceLROnPlateau: an epoch is better where value < best (1 - threshold); after a
    cut `cooldown` epochs do not count. The factor stops at `minimum`. The validation loss is
    watched where there is one, else the training loss.
    """

    _: KW_ONLY
    gamma: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    minimum: float = 0.0

    def factor(self, at: Position, memory: Memory) -> float:
        return memory.get("factor", 1.0)

    def observe(self, memory: Memory, value: float) -> Memory:
        best, factor = memory.get("best", math.inf), memory.get("factor", 1.0)
        bad, cooldown = memory.get("bad", 0), memory.get("cooldown", 0)
        better = value < best * (1 - self.threshold)
        best, bad = (value, 0) if better else (best, bad + 1)
        if cooldown > 0:
            cooldown, bad = cooldown - 1, 0
        if bad > self.patience:
            factor, cooldown, bad = max(factor * self.gamma, self.minimum), self.cooldown, 0
        known = {"best": best} if best < math.inf else {}
        return {**known, "factor": factor, "bad": bad, "cooldown": cooldown}


SCHEDULES: dict[str, Schedule] = {
    "cosine": Cosine(),
    "constant": Constant(),
    "step": StepDecay(),
    "exponential": Exponential(),
    "one-cycle": OneCycle(),
    "plateau": Plateau(),
}
"""By the command line's names, with default values."""

SCHEDULE = instance(
    Schedule,
    {name.replace("-", ""): partial(SCHEDULES.__getitem__, name) for name in SCHEDULES},
    "write schedule=minidl.train.Cosine()",
)
"""A schedule, or its name."""
