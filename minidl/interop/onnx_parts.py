"""What several of ONNX's nodes make together: a value that no layer gives, until a later node.

A part is kept by name as a value is, and only operators that know of it may read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.interop.onnx_reader import Model, Part, Value, refused
from minidl.ir import Array
from minidl.ir.features import is_plain, places

TO_NHWC = [0, 2, 3, 1]
"""Transpose's axes from NCHW."""


# -- the last nodes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ending(Part):
    """The network's output in another form, of which nothing but the output may be made."""

    softmax: str = ""
    """The operator that makes probabilities of it."""
    turned: bool = False
    """Whether images are NHWC."""
    ordered: bool = False
    """Whether features are in minidl's order."""


def ending(m: Model, node: Any) -> Ending:
    found = m.either(node)
    if isinstance(found, Ending):
        return found
    if isinstance(found, Part):
        raise refused(node, f"its input is {found.what}")
    return Ending(found, f"what {node.op_type} makes, which is read at the network's end alone")


def softmax(m: Model, node: Any) -> Ending:
    """Along the channels or features; the loss has it."""
    end, usual = ending(m, node), -1 if m.opset >= 13 else 1
    axis = m.attributes(node, axis=usual)["axis"]
    rank = len(end.value.shape)
    along = {2: (1, -1), 4: (3, -1) if end.turned else (1, -3)}[rank]
    if axis not in along or end.softmax or (rank == 4 and m.opset < 13):
        raise refused(node, f"axis {axis}")
    return replace(end, softmax=node.op_type)


def transpose(m: Model, node: Any) -> Ending:
    """Images to NHWC, which minidl's are."""
    end, perm = ending(m, node), m.attributes(node, perm=[])["perm"]
    if perm != TO_NHWC or len(end.value.shape) != 4 or end.turned:
        raise refused(node, f"perm {perm[:9]}: images to (N, H, W, C), once, at the network's end")
    return replace(end, turned=True)


def gather(m: Model, node: Any) -> Ending:
    """A flattened image from PyTorch's order to minidl's."""
    end, axis = ending(m, node), m.attributes(node, axis=0)["axis"]
    order, features = m.required(node, 1), end.value.features
    mixed = len(end.value.shape) == 2 and not is_plain(features) and not end.ordered
    if axis != 1 or not mixed or not np.array_equal(order, np.argsort(places(features))):
        raise refused(node, "other than a flattened image as (H, W, C), at the network's end")
    return replace(end, ordered=True)


# -- padding ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Padded(Part):
    """An image with zeros around it."""

    padding: tuple[int, int] = (0, 0)
    """(height, width), the same at both edges."""


def pad(m: Model, node: Any) -> Padded:
    """Zeros around an image; opset 11 made the attributes inputs."""
    usual = {"mode": b"constant"} | ({"pads": [], "value": 0.0} if m.opset < 11 else {})
    how, x = m.attributes(node, **usual), m.image(node)
    pads = how["pads"] if m.opset < 11 else m.required(node, 1).reshape(-1).tolist()
    given = how["value"] if m.opset < 11 else m.constant(node, 2)
    value = 0.0 if given is None else given
    if how["mode"] != b"constant" or np.any(value) or len(node.input) > 3:
        raise refused(node, f"mode {how['mode'][:9]!r}, value {value}: zeros are expected")
    near, far = pads[2:4], pads[6:]
    if len(pads) != 8 or any(pads[:2] + pads[4:6]) or near != far or not _are_pads(near):
        raise refused(node, f"pads {pads[:9]}: the same at both edges are expected")
    return Padded(x, "an image with zeros around it", (int(near[0]), int(near[1])))


def _are_pads(pads: list[Any]) -> bool:
    return all(isinstance(p, int) and 0 <= p < 2**31 for p in pads)


def unpadded(m: Model, node: Any) -> tuple[Value, tuple[int, int]]:
    """The image, and the zeros that Pad has put around it."""
    found = m.either(node)
    if isinstance(found, Padded):
        return found.value, found.padding
    return m.image(node), (0, 0)


# -- arithmetic ------------------------------------------------------------------------------------

POINTS = np.linspace(-6, 6, 121)
"""Where functions are compared."""


@dataclass(frozen=True, slots=True)
class Computed(Part):
    """A function of one value, element by element, known by what it is at `POINTS`."""

    at: Array = field(default_factory=lambda: POINTS)


def computed(m: Model, node: Any, index: int = 0) -> Computed | float:
    """An operand: a function of a value, or a number."""
    name = node.input[index] if index < len(node.input) else ""
    if name in m.constants:
        constant = m.required(node, index)
        if constant.size != 1:
            raise refused(node, f"a constant of shape {constant.shape}, not one number")
        return float(constant.reshape(()))
    found = m.either(node, index)
    if isinstance(found, Part) and not isinstance(found, Computed):
        raise refused(node, f"its input is {found.what}")
    return found if isinstance(found, Computed) else Computed(found, ARITHMETIC)


ARITHMETIC = "arithmetic that is, so far, no layer of minidl"
