"""plan and compile: from a network to a plan, and to a step that runs."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.lower import Target, lower_inference, lower_training
from minidl.compiler.planner import make_plan
from minidl.ir import ALIGNMENT, ArgumentError, Plan, Setting, Shape
from minidl.ir.site import SCRATCH_LIMIT
from minidl.layers.base import Layer
from minidl.layers.loss import CrossEntropy, Loss
from minidl.layers.network import as_network
from minidl.optim import SGD, Optimizer
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
    image: Shape | None = None,
    alignment: int = ALIGNMENT,
    scratch_limit: int = SCRATCH_LIMIT,
    modes: bool = True,
) -> Plan:
    """The plan of one training step, with no device touched and nothing allocated.

    loss: CrossEntropy by default; optimizer: SGD with momentum 0.9 by default. `modes` also
    sizes the same step in every memory mode. ShapeError names a layer that does not fit.
    """
    net = as_network(network, image)
    target = _target(batch, device, precision, scratch_limit)
    graph = lower_training(net, loss or CrossEntropy(), optimizer or SGD(momentum=0.9), target)
    setting = Setting(net.name, batch, net.image, precision, device, memory, _checked(alignment))
    return make_plan(graph, setting, modes=modes)


def compile(  # noqa: A001 - the field's word for it
    network: Layer,
    batch: int,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    device: str = "cpu",
    precision: str = "float32",
    memory: str = "arena",
    seed: int = 0,
    image: Shape | None = None,
    alignment: int = ALIGNMENT,
    scratch_limit: int = SCRATCH_LIMIT,
    debug: bool = False,
    check_finite: bool = False,
) -> Step:
    """Plan a training step, take its arena in one allocation and bind every op to it.

    debug: fill dead bytes with NaN and put canaries between tensors, checked after every op.
    check_finite: raise NotFiniteError that names the step and the first op whose output is not.
    """
    if device != "cpu":
        raise ArgumentError(
            f"device {device!r} cannot run yet: this release has the CPU device; "
            "dl.plan and `minidl plan` size a step for cuda as well"
        )
    net = as_network(network, image)
    target = replace(_target(batch, device, precision, scratch_limit), seed=seed)
    criterion = loss or CrossEntropy()
    training = lower_training(net, criterion, optimizer or SGD(momentum=0.9), target)
    setting = Setting(net.name, batch, net.image, precision, device, memory, _checked(alignment))
    guard = GUARD if debug else 0
    inference = make_plan(lower_inference(net, target, training), setting, guard)
    planned = make_plan(training, setting, guard, modes=True)
    return Step(planned, inference, criterion.check, seed, debug, check_finite)


def _target(batch: int, device: str, precision: str, scratch_limit: int) -> Target:
    if device not in ("cpu", "cuda"):
        raise ArgumentError(f"unknown device {device!r}: choose cpu or cuda")
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"unknown precision {precision!r}: choose from {', '.join(PRECISIONS)} "
            "(bf16 comes with the CUDA kernels)"
        )
    if device == "cpu" and precision == "tf32":
        raise ArgumentError("precision 'tf32' is a mode of CUDA's tensor cores: use float32 on cpu")
    return Target(batch, PRECISIONS[precision], device, scratch_limit)


def _checked(alignment: int) -> int:
    if alignment < 16 or alignment & (alignment - 1):
        raise ArgumentError(f"alignment must be a power of two of at least 16, got {alignment}")
    return alignment
