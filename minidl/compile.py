"""plan and compile: from a network to a plan, and to a step that runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from minidl.compiler.lower import Target, lower_inference, lower_training
from minidl.compiler.planner import make_plan
from minidl.ir import (
    ALIGNMENT,
    ArenaTooLargeError,
    ArgumentError,
    BudgetError,
    Plan,
    Setting,
    Shape,
    format_size,
    parse_size,
)
from minidl.ir.largest import largest_fitting
from minidl.ir.site import SCRATCH_LIMIT
from minidl.layers.base import Layer
from minidl.layers.loss import CrossEntropy, Loss
from minidl.layers.network import Network, as_network
from minidl.optim import SGD, Optimizer
from minidl.runtime.arena import available_memory
from minidl.runtime.debug import GUARD
from minidl.runtime.step import Step

PRECISIONS = {"float32": "float32", "tf32": "float32", "float64": "float64"}
"""The storage dtype of each precision. float64 is for checking gradients on the CPU device."""


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
    without: Iterable[str] = (),
    image: Shape | None = None,
    alignment: int = ALIGNMENT,
    scratch_limit: int = SCRATCH_LIMIT,
    modes: bool = True,
) -> Plan:
    """The plan of one training step, with no device touched and nothing allocated.

    loss: CrossEntropy by default; optimizer: SGD with momentum 0.9 by default.
    recompute: share of the step's floating-point operations that running forward ops again may
    take, 0.01 for 1 %; None: only ops as cheap as an elementwise pass run again, 0: none does.
    budget: bytes ("8GiB") to fit into at the least extra work; BudgetError if that fails.
    slices: run the first layers on this many parts of the batch, one after the other.
    without: names of passes to leave out. modes: also size the step in every memory mode.
    ShapeError names a layer that does not fit.
    """
    net = as_network(network, image)
    target = _target(batch, device, precision, scratch_limit, slices)
    setting = _setting(net, target, precision, memory, recompute, budget, without, alignment)
    criterion, updates = loss or CrossEntropy(), optimizer or SGD(momentum=0.9)

    def at_batch(size: int, **changes: Any) -> Plan:
        here = replace(setting, batch=size, **changes)
        graph = lower_training(net, criterion, updates, target.at(size))
        return make_plan(graph, here, modes=modes and size == batch)

    try:
        made = at_batch(batch)
    except BudgetError as error:
        raise _with_way_out(error, at_batch, batch) from None
    return replace(made, at_batch=at_batch)


def _with_way_out(error: BudgetError, at_batch: Callable[..., Plan], batch: int) -> BudgetError:
    """The same error, saying which batch would fit."""

    def needs(size: int) -> int:
        try:
            return at_batch(size).arena_bytes
        except BudgetError as failed:
            return failed.needed

    largest = largest_fitting(needs, error.budget, batch)
    hint = f": batch {largest} would fit" if largest else ", and batch 1 does not fit either"
    return BudgetError(error.budget, error.needed, hint)


def compile(  # noqa: A001 - the field's word for it
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
    without: Iterable[str] = (),
    seed: int = 0,
    image: Shape | None = None,
    alignment: int = ALIGNMENT,
    scratch_limit: int = SCRATCH_LIMIT,
    debug: bool = False,
    check_finite: bool = False,
) -> Step:
    """Plan a training step, take its arena in one allocation and bind every op to it.

    recompute, budget, slices, without: as in `plan`. ArenaTooLargeError where the machine has
    fewer bytes free, saying which batch or budget fits.
    debug: fill dead bytes with NaN and put canaries between tensors, checked after every op.
    check_finite: raise NotFiniteError that names the step and the first op whose output is not.
    """
    if device != "cpu":
        raise ArgumentError(
            f"device {device!r} cannot run yet: this release has the CPU device; "
            "dl.plan and `minidl plan` size a step for cuda as well"
        )
    net = as_network(network, image)
    target = replace(_target(batch, device, precision, scratch_limit, slices), seed=seed)
    setting = _setting(net, target, precision, memory, recompute, budget, without, alignment)
    criterion = loss or CrossEntropy()
    training = lower_training(net, criterion, optimizer or SGD(momentum=0.9), target)
    guard = GUARD if debug else 0
    plain = replace(setting, recompute=None, budget=None)
    inference = make_plan(lower_inference(net, target, training), plain, guard)
    planned = make_plan(training, setting, guard, modes=True)

    def at_batch(size: int, **changes: Any) -> Plan:
        graph = lower_training(net, criterion, optimizer or SGD(momentum=0.9), target.at(size))
        return make_plan(graph, replace(setting, batch=size, **changes))

    _require_memory(max(planned.arena_bytes, inference.arena_bytes), at_batch, batch)
    return Step(planned, inference, criterion.check, seed, debug, check_finite)


def _require_memory(needed: int, at_batch: Callable[..., Plan], batch: int) -> None:
    """ArenaTooLargeError unless the machine has `needed` bytes free, saying what would fit."""
    free = available_memory()
    if free is None or needed <= free:
        return
    largest = largest_fitting(lambda size: at_batch(size).arena_bytes, free, batch)
    ways = [f"batch {largest} fits" if largest else "not even batch 1 fits"]
    try:
        plan = at_batch(batch, memory="arena", recompute=None, budget=free)
        share = plan.recompute_flops / (plan.graph.flops - plan.recompute_flops)
        ways.append(f"memory='arena', budget={free} fits this batch for {share:.1%} more work")
    except BudgetError as error:
        ways.append(f"the least budget found for this batch is {format_size(error.needed)}")
    raise ArenaTooLargeError(
        f"the arena needs {format_size(needed)}, this machine has {format_size(free)} free: "
        + "; ".join(ways)
    )


def _target(batch: int, device: str, precision: str, scratch_limit: int, slices: int) -> Target:
    if device not in ("cpu", "cuda"):
        raise ArgumentError(f"unknown device {device!r}: choose cpu or cuda")
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"unknown precision {precision!r}: choose from {', '.join(PRECISIONS)} "
            "(bf16 comes with the CUDA kernels)"
        )
    if device == "cpu" and precision == "tf32":
        raise ArgumentError("precision 'tf32' is a mode of CUDA's tensor cores: use float32 on cpu")
    return Target(batch, PRECISIONS[precision], device, scratch_limit, slices=slices)


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
    )
