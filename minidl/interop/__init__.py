"""Exchange with other programs: weights, ONNX, arrays of other libraries."""

from minidl.interop.arrays import CudaArray, exported
from minidl.interop.onnx_export import export_onnx
from minidl.interop.onnx_import import import_onnx
from minidl.interop.onnx_table import register_onnx
from minidl.interop.weights import Loaded, load_weights, read_weights, save_weights

__all__ = [
    "CudaArray",
    "Loaded",
    "export_onnx",
    "exported",
    "import_onnx",
    "load_weights",
    "read_weights",
    "register_onnx",
    "save_weights",
]
