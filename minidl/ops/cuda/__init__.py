"""How each op runs as CUDA kernels: tiles, grids and parameters, as data. No device is touched.

One module a family; the C++ is in `kernels/`. `launches_of(op)` is all that a device needs.
"""

from __future__ import annotations

from collections.abc import Iterable

from minidl.ir import LimitError, Op, PlanError
from minidl.ops.cuda import (  # noqa: F401 - their rules
    conv2d,
    gradients,
    linear,
    reductions,
    small,
    windows,
)
from minidl.ops.cuda.elementwise import by_channel, elementwise
from minidl.ops.cuda.launch import (
    CONSTANTS,
    RULES,
    Address,
    Launch,
    constants,
    described,
    rule,
    template,
)
from minidl.ops.cuda.limits import ANY_CARD, Limits, require_launchable
from minidl.ops.cuda.reductions import partial_floats, reduce_rows

__all__ = [
    "ANY_CARD",
    "CONSTANTS",
    "RULES",
    "Address",
    "Launch",
    "Limits",
    "by_channel",
    "check_launches",
    "constants",
    "launches_of",
    "partial_floats",
    "reduce_rows",
    "rule",
    "template",
]


def launches_of(op: Op) -> list[Launch]:
    """The kernels that the op is, in order; PlanError where it has none."""
    try:
        return _launches_of(op)
    except LimitError as error:
        raise LimitError(f"{described(op)}: {error}") from None


def check_launches(ops: Iterable[Op], limits: Limits = ANY_CARD) -> None:
    """LimitError, naming the op and the way out, unless a card can launch each of the ops."""
    for op in ops:
        require_launchable(op, launches_of(op), limits)


def _launches_of(op: Op) -> list[Launch]:
    main = op.original
    name = main.function.__name__
    if name in RULES:
        return RULES[name](op)
    if main.elementwise and op.epilogue is None:
        return elementwise(op)
    raise PlanError(f"{op.name}: {name} has no CUDA kernel: state its launches with a rule")
