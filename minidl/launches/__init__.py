"""How each op runs as CUDA kernels: tiles, grids and parameters, as data. No device is touched.

One module a family; the C++ is in `kernels/`. `launches_of(op)` is all that a device needs.
"""

from __future__ import annotations

from minidl.ir import Op, PlanError
from minidl.launches import (  # noqa: F401 - their rules
    conv2d,
    gradients,
    linear,
    reductions,
    small,
    windows,
)
from minidl.launches.elementwise import by_channel, elementwise
from minidl.launches.launch import CONSTANTS, RULES, Address, Launch, constants, rule
from minidl.launches.reductions import partial_floats, reduce_rows

__all__ = [
    "CONSTANTS",
    "RULES",
    "Address",
    "Launch",
    "by_channel",
    "constants",
    "launches_of",
    "partial_floats",
    "reduce_rows",
    "rule",
]


def launches_of(op: Op) -> list[Launch]:
    """The kernels that the op is, in order; PlanError where it has none."""
    main = op.original
    name = main.function.__name__
    if name in RULES:
        return RULES[name](op)
    if main.elementwise and op.epilogue is None:
        return elementwise(op)
    raise PlanError(f"{op.name}: {name} has no CUDA kernel: state its launches with a rule")
