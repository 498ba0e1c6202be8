"""Arithmetic on one value, as GELU is where ONNX has no operator for it.

Programs write the same function in many ways; it is known by its values, not by its nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.interop.onnx_parts import ARITHMETIC, POINTS, Computed, computed
from minidl.interop.onnx_places import placed
from minidl.interop.onnx_reader import Model, Part, Value, refused
from minidl.ir import Array
from minidl.layers.activation import GELU
from minidl.ops.activation import CUBIC, SQRT_2_PI

CLOSE = 2e-6
"""How far apart the values may be: constants are float32; GELU's two forms are 5e-4 apart."""


def erf(x: Array) -> Array:
    return np.array([math.erf(v) for v in x])


GELUS: dict[str, Array] = {
    "none": POINTS / 2 * (1 + erf(POINTS * math.sqrt(0.5))),
    "tanh": POINTS / 2 * (1 + np.tanh(SQRT_2_PI * (POINTS + CUBIC * POINTS**3))),
}


def arithmetic(
    function: Callable[..., Any], operands: int = 2
) -> Callable[[Model, Any], Value | Part]:
    """An operator of one value and numbers: a layer, where the function is one."""

    def operator(m: Model, node: Any) -> Value | Part:
        m.attributes(node)
        given = [computed(m, node, i) for i in range(operands)]
        parts = [x for x in given if isinstance(x, Computed)]
        if not parts or any(x.value is not parts[0].value for x in parts):
            raise refused(node, "arithmetic on several values, or on none")
        with np.errstate(all="ignore"):
            at = function(*(x.at if isinstance(x, Computed) else x for x in given))
        return _recognised(node, Computed(parts[0].value, ARITHMETIC, at))

    return operator


def _recognised(node: Any, found: Computed) -> Value | Computed:
    for approximate, values in GELUS.items():
        if np.abs(found.at - values).max() <= CLOSE:
            return placed(node, GELU("tanh" if approximate == "tanh" else "none"), found.value)
    return found


def is_arithmetic(m: Model, node: Any) -> bool:
    """Whether an operand is a number, or computed from one: no layer's output."""
    return any(
        name in m.constants or isinstance(m.parts.get(name), Computed) for name in node.input
    )
