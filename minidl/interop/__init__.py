"""Exchange with other programs: weights, ONNX, arrays of other libraries."""

from minidl.interop.weights import Loaded, load_weights, read_weights, save_weights

__all__ = ["Loaded", "load_weights", "read_weights", "save_weights"]
