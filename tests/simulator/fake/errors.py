"""CUDA's errors under their own names, as CuPy raises them.

Names and words are those of `cudaGetErrorName` and `cuGetErrorName`:
https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html, "cudaError".
"""

from __future__ import annotations

NAMES = {
    1: ("InvalidValue", "INVALID_VALUE", "invalid argument"),
    2: ("MemoryAllocation", "OUT_OF_MEMORY", "out of memory"),
    35: (
        "InsufficientDriver",
        "UNKNOWN",
        "CUDA driver version is insufficient for CUDA runtime version",
    ),
    46: (
        "DevicesUnavailable",
        "DEVICE_UNAVAILABLE",
        "CUDA-capable device(s) is/are busy or unavailable",
    ),
    100: ("NoDevice", "NO_DEVICE", "no CUDA-capable device is detected"),
    101: ("InvalidDevice", "INVALID_DEVICE", "invalid device ordinal"),
    200: ("InvalidKernelImage", "INVALID_IMAGE", "device kernel image is invalid"),
    209: (
        "NoKernelImageForDevice",
        "NO_BINARY_FOR_GPU",
        "no kernel image is available for execution on the device",
    ),
    400: ("InvalidResourceHandle", "INVALID_HANDLE", "invalid resource handle"),
    500: ("SymbolNotFound", "NOT_FOUND", "named symbol not found"),
    700: (
        "IllegalAddress",
        "ILLEGAL_ADDRESS",
        "an illegal memory access was encountered",
    ),
    701: (
        "LaunchOutOfResources",
        "LAUNCH_OUT_OF_RESOURCES",
        "too many resources requested for launch",
    ),
    716: ("MisalignedAddress", "MISALIGNED_ADDRESS", "misaligned address"),
    719: ("LaunchFailure", "LAUNCH_FAILED", "unspecified launch failure"),
    803: (
        "SystemDriverMismatch",
        "SYSTEM_DRIVER_MISMATCH",
        "system has unsupported display driver / cuda driver combination",
    ),
    900: (
        "StreamCaptureUnsupported",
        "STREAM_CAPTURE_UNSUPPORTED",
        "operation not permitted when stream is capturing",
    ),
    901: (
        "StreamCaptureInvalidated",
        "STREAM_CAPTURE_INVALIDATED",
        "operation failed due to a previous error during capture",
    ),
    905: (
        "StreamCaptureIsolation",
        "STREAM_CAPTURE_ISOLATION",
        "dependency created on uncaptured work in another stream",
    ),
    907: (
        "CapturedEvent",
        "CAPTURED_EVENT",
        "operation not permitted on an event last recorded in a capturing stream",
    ),
}
"""By status: the runtime's name, the driver's, and the words."""

INVALID_VALUE, OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE, INVALID_DEVICE = 1, 2, 35, 100, 101
INVALID_IMAGE, NO_BINARY, INVALID_HANDLE, NOT_FOUND, OUT_OF_RESOURCES = 200, 209, 400, 500, 701
MISALIGNED, LAUNCH_FAILED = 716, 719
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_ISOLATION, CAPTURED_EVENT = 900, 901, 905, 907


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        name, _, words = NAMES[status]
        super().__init__(f"cudaError{name}: {words}")


class CUDADriverError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        _, name, words = NAMES[status]
        super().__init__(f"CUDA_ERROR_{name}: {words}")


Failure = type[CUDARuntimeError] | type[CUDADriverError]
"""Which of the two interfaces was called."""
