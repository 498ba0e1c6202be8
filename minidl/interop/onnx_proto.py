"""The only module that imports onnx, and only when a model is written or read."""

from __future__ import annotations

from typing import Any

from minidl.ir import ArgumentError

OLDEST_OPSET, NEWEST_OPSET = 9, 25
"""Of models that are read: what the operators that minidl knows mean is the same in all of them."""

BATCHES = "minidl.num_batches_tracked"
"""Key of a model's metadata: BatchNorm2d's counters as JSON, for which ONNX has no place."""

ARGUMENTS = "minidl.arguments"
"""Key of a model's metadata: see `minidl.interop.onnx_numbers.Arguments`."""


def onnx() -> Any:
    """The module; ArgumentError saying how to install it."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise ArgumentError(f"ONNX needs onnx ({error})", "pip install 'minidl[onnx]'") from None
    return onnx
