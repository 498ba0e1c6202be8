"""Functions that build a model: how they are called."""

from __future__ import annotations

from minidl.ir.calls import called
from minidl.ir.readers import several, whole

_FROM_A_FILE = (
    "a model begins with weights of its own, published ones come from a file: "
    "minidl train --weights FILE, or minidl.interop.load_weights"
)

builder = called(
    readers={"classes": whole(1), "image": several(whole(1), 3)},
    num_classes="classes",
    n_classes="classes",
    input_shape="image",
    pretrained=_FROM_A_FILE,
    weights=_FROM_A_FILE,
)
"""A function of `classes`, `image` and more that returns a Network: wrong calls are a CallError
that knows the words of other model zoos, and what does not fit is an ArgumentError."""
