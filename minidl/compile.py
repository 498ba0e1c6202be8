"""plan and compile: from a network to a plan, and to a step that runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minidl.cards import card_of, named
from minidl.compiler.lower import Target, lower_holding, lower_inference, lower_training
from minidl.compiler.planner import make_plan
from minidl.devices.cpu import CpuDevice
from minidl.devices.device import Device, free_memory
from minidl.gradients import GradientRule
from minidl.ir import (
    ALIGNMENT,
    ArenaTooLargeError,
    ArgumentError,
    BudgetError,
    Plan,
    Setting,
    Shape,
    StepGraph,
    format_size,
    parse_size,
)
from minidl.ir.card import Card
from minidl.ir.largest import largest_fitting
from minidl.ir.site import SCRATCH_LIMIT
from minidl.layers.base import Layer
from minidl.layers.loss import CrossEntropy, Loss
from minidl.layers.network import Network, as_network
from minidl.ops.cuda import Limits, check_launches
from minidl.ops.cuda.product import Tuning, read_tuning
from minidl.optim import SGD, Optimizer
from minidl.runtime.debug import GUARD
from minidl.runtime.step import Step

PRECISIONS = {
    "float32": "float32",
    "tf32": "float32",
    "bf16": "bfloat16",
    "float64": "float64",
}
"""The dtype of activations in each precision; weights and sums are never below float32. float64 is
for checking gradients on the CPU device, tf32 and bf16 are for CUDA's tensor cores."""


def plan(
    network: Layer,
    batch: int,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    device: str = "cpu",
    precision: str = "float32",
    memory: str = "arena",
    recompute: float | None = None,
    budget: int | str | None = None,
    slices: int = 1,
    prefetch: bool = False,
    clip_norm: float | None = None,
    accumulate: int = 1,
    without: Iterable[str] = (),
    image: Shape | None = None,
    alignment: int = ALIGNMENT,
    scratch_limit: int = SCRATCH_LIMIT,
    tuning: str | Path | Tuning | None = None,
    modes: bool = True,
    gpu: str | Card | None = None,
) -> Plan:
    """The plan of one training step, with no device touched and nothing allocated.

    loss: CrossEntropy by default; optimizer: SGD with momentum 0.9 by default.
    gpu: the card to plan for, say "rtx3060", of those in docs/cards.md: implies device="cuda".
    Without it a plan for cuda is one for the h100; `compile` plans for the card that is there.
    recompute: share of the step's floating-point operations that running forward ops again may
    take, 0.01 for 1 %; None: only ops as cheap as an elementwise pass run again, 0: none does.
    budget: bytes ("8GiB") to fit into at the least extra work; BudgetError if that fails.
    slices: run the first layers on this many parts of the batch, one after the other.
    prefetch: give the next batch bytes of its own, so that with `Step.feed` it is copied to the GPU
    while a step runs; only on cuda.
    clip_norm: multiply all weight gradients by min(1, clip_norm / (norm + 1e-6)), norm = sqrt(sum
    of squares of all of them together), before the update takes them.
    accumulate: calls that make one update, with the mean of their gradients. The plan is that of
    the last of them, its bytes are what the larger of both kinds of call needs.
    without: names of passes to leave out. tuning: a file of measured tiles for CUDA's matrix
    products (`minidl.ops.cuda.product.read_tuning`).
    modes: the plan says on request what the step needs in every memory mode.
    ShapeError names a layer that does not fit.
    """
    card = named(gpu) if isinstance(gpu, str) else gpu
    device = device if card is None else "cuda"
    target = _target(batch, device, card, precision, scratch_limit, slices, prefetch, tuning)
    net = as_network(network, image)
    setting = _setting(net, target, precision, memory, recompute, budget, without, alignment)
    setting = _with_rule(setting, clip_norm, accumulate)
    recipe = _Recipe(net, loss or CrossEntropy(), optimizer or SGD(momentum=0.9), target, setting)
    return recipe.plans(modes=modes).training


def step_plans(
    network: Layer,
    batch: int,
    *,
    optimizer: Optimizer | None = None,
    card: Card,
    precision: str = "float32",
    memory: str = "arena",
    recompute: float | None = None,
    budget: int | str | None = None,
    slices: int = 1,
    prefetch: bool = False,
    clip_norm: float | None = None,
    accumulate: int = 1,
    without: Iterable[str] = (),
    scratch_limit: int = SCRATCH_LIMIT,
    tuning: str | Path | Tuning | None = None,
) -> tuple[Plan, ...]:
    """Every plan that a step runs on a card: training, adding to gradients where updates are
    spread, prediction. No device is touched; arguments as in `plan`."""
    target = _target(batch, "cuda", card, precision, scratch_limit, slices, prefetch, tuning)
    net = as_network(network, None)
    setting = _setting(net, target, precision, memory, recompute, budget, without, ALIGNMENT)
    setting = _with_rule(setting, clip_norm, accumulate)
    recipe = _Recipe(net, CrossEntropy(), optimizer or SGD(momentum=0.9), target, setting)
    plans = recipe.plans()
    holding = () if plans.holding is None else (plans.holding,)
    return (plans.training, *holding, recipe.inference(plans.training))


@dataclass(frozen=True)
class _Plans:
    """What calls of a step run."""

    training: Plan
    holding: Plan | None
    """Of the calls that only add to the sums of gradients, where there are some."""


@dataclass(frozen=True)
class _Recipe:
    """A training step that can be planned at any batch."""

    network: Network
    loss: Loss
    optimizer: Optimizer
    target: Target
    setting: Setting

    def at_batch(self, batch: int, **changes: Any) -> Plan:
        """The plan for another batch, and other fields of the setting by name."""
        return self._planned(replace(self.setting, batch=batch, **changes)).training

    def plans(self, guard: int = 0, modes: bool = False) -> _Plans:
        """The plans as they were asked for; BudgetError says which batch would fit."""
        try:
            return self._planned(self.setting, guard, modes)
        except BudgetError as error:
            raise self.with_way_out(error) from None

    def _planned(self, setting: Setting, guard: int = 0, modes: bool = False) -> _Plans:
        target, rule = self.target.at(setting.batch), _rule(setting)
        graph = lower_training(self.network, self.loss, self.optimizer, target, rule)
        training = replace(_planned(graph, setting, guard, modes), at_batch=self.at_batch)
        if setting.accumulate == 1:
            return _Plans(training, None)
        held = lower_holding(self.network, self.loss, target, rule, graph)
        holding = _planned(held, setting, guard)
        size = max(training.arena_bytes, holding.arena_bytes)
        return _Plans(replace(training, arena_bytes=size), holding)

    def inference(self, training: Plan, guard: int = 0) -> Plan:
        """The plan of a prediction with the weights of a training step."""
        graph = lower_inference(self.network, self.target, training.graph)
        return _planned(graph, replace(self.setting, recompute=None, budget=None), guard)

    def with_way_out(self, error: BudgetError) -> BudgetError:
        """The same error, saying which batch would fit."""

        def needs(batch: int) -> int:
            try:
                return self.at_batch(batch).arena_bytes
            except BudgetError as failed:
                return failed.needed

        largest = largest_fitting(needs, error.budget, self.setting.batch)
        hint = f": batch {largest} would fit" if largest else ", and batch 1 does not fit either"
        return BudgetError(error.budget, error.needed, hint)


def compile(  # noqa: A001 - the field's word for it
    network: Layer,
    batch: int,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    device: str | Device = "cpu",
    precision: str = "float32",
    memory: str = "arena",
    recompute: float | None = None,
    budget: int | str | None = None,
    slices: int = 1,
    prefetch: bool = False,
    clip_norm: float | None = None,
    accumulate: int = 1,
    without: Iterable[str] = (),
    seed: int = 0,
    image: Shape | None = None,
    alignment: int = ALIGNMENT,
    scratch_limit: int = SCRATCH_LIMIT,
    tuning: str | Path | Tuning | None = None,
    debug: bool = False,
    check_finite: bool = False,
) -> Step:
    """Plan a training step, take its arena in one allocation and bind every op to it.

    device: "cpu", "cuda", or a device, say `CudaDevice(index=1)`; tiles are chosen for that card.
    recompute, budget, slices, prefetch, clip_norm, accumulate, without, tuning: as in `plan`.
    ArenaTooLargeError where the device has fewer bytes free, saying which batch or budget fits.
    debug: fill dead bytes with NaN and put canaries between tensors, checked after every op.
    check_finite: raise NotFiniteError that names the step and the first op whose output is not.
    """
    place = device_of(device)
    how: Any = precision, scratch_limit, slices, prefetch, tuning
    target = replace(_target(batch, place.name, place.card, *how), seed=seed)
    net = as_network(network, image)
    setting = _setting(net, target, precision, memory, recompute, budget, without, alignment)
    setting = _with_rule(setting, clip_norm, accumulate)
    recipe = _Recipe(net, loss or CrossEntropy(), optimizer or SGD(momentum=0.9), target, setting)
    guard = GUARD if debug else 0
    plans = recipe.plans(guard, modes=True)
    inference = recipe.inference(plans.training, guard)
    needed = max(plans.training.arena_bytes, inference.arena_bytes)
    if setting.budget is not None and needed > setting.budget:
        raise BudgetError(setting.budget, needed, ", for predict")
    _require_memory(needed, recipe, place)
    check = recipe.loss.check
    return Step(plans.training, inference, check, seed, debug, check_finite, place, plans.holding)


def _planned(graph: StepGraph, setting: Setting, guard: int = 0, modes: bool = False) -> Plan:
    """The proven plan; for cuda LimitError where a card cannot launch an op of it."""
    plan = make_plan(graph, setting, guard, modes)
    if setting.device == "cuda":
        check_launches(plan.graph.ops, Limits.of(card_of(setting.card)))
    return plan


def device_of(device: str | Device) -> Device:
    """The device that a name stands for; a device is itself."""
    if device == "cpu":
        return CpuDevice()
    if device == "cuda":
        from minidl.devices.cuda import CudaDevice

        return CudaDevice()
    if isinstance(device, str):
        raise ArgumentError(f"unknown device {device!r}: choose cpu or cuda")
    return device


def _require_memory(needed: int, recipe: _Recipe, device: Device) -> None:
    """ArenaTooLargeError unless the device has `needed` bytes free, saying what would fit."""
    free = device.available()
    if free is None or needed <= free:
        return
    largest = largest_fitting(lambda n: recipe.at_batch(n).arena_bytes, free, recipe.setting.batch)
    ways = [f"batch {largest} fits" if largest else "not even batch 1 fits"]
    try:
        how: dict[str, Any] = {"memory": "arena", "recompute": None, "budget": free}
        plan = recipe.at_batch(recipe.setting.batch, **how)
        share = plan.recompute_flops / (plan.graph.flops - plan.recompute_flops)
        ways.append(f"memory='arena', budget={free} fits this batch for {share:.1%} more work")
    except BudgetError as error:
        ways.append(f"the least budget found for this batch is {format_size(error.needed)}")
    raise ArenaTooLargeError(
        f"the arena needs {format_size(needed)}, {free_memory(device, free)}: " + "; ".join(ways)
    )


def _target(
    batch: int,
    device: str,
    card: Card | None,
    precision: str,
    scratch_limit: int,
    slices: int,
    prefetch: bool,
    tuning: str | Path | Tuning | None,
) -> Target:
    if device not in ("cpu", "cuda"):
        raise ArgumentError(f"unknown device {device!r}: choose cpu or cuda")
    if precision not in PRECISIONS:
        raise ArgumentError(f"unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    if device == "cpu" and precision in ("tf32", "bf16"):
        raise ArgumentError(
            f"precision {precision!r} is a mode of CUDA's tensor cores: use float32 on cpu"
        )
    if device == "cuda" and precision == "float64":
        raise ArgumentError("precision 'float64' is for the CPU device: use float32 on cuda")
    if prefetch and device != "cuda":
        raise ArgumentError("prefetch overlaps copies to a GPU with its work: leave it out on cpu")
    dtype = PRECISIONS[precision]
    if isinstance(tuning, (str, Path)):
        tuning = read_tuning(tuning)
    how: dict[str, Any] = {"precision": precision, "tuning": tuning}
    how |= {"slices": slices, "prefetch": prefetch}
    how["card"] = card_of(card) if device == "cuda" else None
    return Target(batch, dtype, device, scratch_limit, **how)


def _setting(
    net: Network,
    target: Target,
    precision: str,
    memory: str,
    recompute: float | None,
    budget: int | str | None,
    without: Iterable[str],
    alignment: int,
) -> Setting:
    if alignment < 16 or alignment & (alignment - 1):
        raise ArgumentError(f"alignment must be a power of two of at least 16, got {alignment}")
    if recompute is not None and not 0 <= recompute < math.inf:
        raise ArgumentError(
            f"recompute is a share of the step's operations, 0.01 for 1 %: got {recompute}"
        )
    if memory != "arena" and (recompute is not None or budget is not None):
        raise ArgumentError(f"recompute and budget need memory='arena', not {memory!r}")
    return Setting(
        net.name,
        target.batch,
        net.image,
        precision,
        target.device,
        memory,
        alignment,
        without=tuple(without),
        recompute=recompute,
        budget=None if budget is None else parse_size(budget),
        slices=target.slices,
        prefetch=target.prefetch,
        card=target.card,
    )


def _with_rule(setting: Setting, clip_norm: float | None, accumulate: int) -> Setting:
    """The setting of a step that clips and accumulates; ArgumentError where it cannot."""
    setting = replace(setting, clip_norm=clip_norm, accumulate=accumulate)
    _rule(setting)
    return setting


def _rule(setting: Setting) -> GradientRule:
    return GradientRule(setting.clip_norm, setting.accumulate)
