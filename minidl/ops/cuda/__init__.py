"""How each op runs as CUDA kernels: tiles, grids and parameters, as data. No device is touched.

One module a family; the C++ is in `kernels/`. `launches_of(op)` is all that a device needs.
"""

from __future__ import annotations

from collections.abc import Iterable

from minidl.ir import LimitError, Op, PlanError
from minidl.ops.cuda import (  # noqa: F401 - what they state
    activation,
    batchnorm2d,
    conv2d,
    counters,
    dropout,
    gradients,
    linear,
    loss,
    lrn,
    merge,
    normalize,
    optim,
    pool2d,
    reduction,
    signs,
    sums,
)
from minidl.ops.cuda.elementwise import by_channel, elementwise
from minidl.ops.cuda.launch import Address, CppFile, Launch, described
from minidl.ops.cuda.limits import ANY_CARD, Limits, require_launchable
from minidl.ops.cuda.reduce import partial_floats, reduce_rows
from minidl.ops.cuda.rules import cuda_target, functor, kernel_of, rule

__all__ = [
    "ANY_CARD",
    "Address",
    "CppFile",
    "Launch",
    "Limits",
    "by_channel",
    "check_launches",
    "cuda_target",
    "functor",
    "launches_of",
    "partial_floats",
    "reduce_rows",
    "rule",
]


def launches_of(op: Op) -> list[Launch]:
    """The kernels that the op is, in order; PlanError where it has none."""
    try:
        return _launches_of(op)
    except LimitError as error:
        raise error.at(described(op)) from None


def check_launches(ops: Iterable[Op], limits: Limits = ANY_CARD) -> None:
    """LimitError, naming the op and the way out, unless a card can launch each of the ops."""
    for op in ops:
        require_launchable(op, launches_of(op), limits)


def _launches_of(op: Op) -> list[Launch]:
    main = op.original
    kernel = kernel_of(main)
    if kernel.launches is not None:
        return kernel.launches(op)
    if main.contract.elementwise and op.fusion.epilogue is None:
        return elementwise(op)
    raise PlanError(
        f"{op.name}: {main.function.__name__} is a functor, and the op not elementwise",
        "state the op with elementwise=True, or its launches with a rule",
    )
