"""PyTorch's side of one op: the same product, its time, and float64 as the judge of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.gpu.timing import TorchClock, milliseconds
from minidl.ir import Op, Tensor


def torch_or_none() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def set_precision(torch: Any, precision: str) -> Any:
    """Allow TF32 only where it is asked for; the dtype of activations."""
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.benchmark = True
    return torch.bfloat16 if precision == "bf16" else torch.float32


def place(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def ceiling(torch: Any, precision: str, size: int) -> float:
    """TFLOP/s of PyTorch's square product of random numbers."""
    dtype = set_precision(torch, precision)
    a, b = (torch.randn(size, size, device=place(torch)).to(dtype) for _ in range(2))
    clock = TorchClock(torch)
    torch.mm(a, b)
    ms = milliseconds(clock, lambda: torch.mm(a, b), 10)
    return float(2 * size**3 / ms / 1e9)


def beside(
    torch: Any,
    op: Op,
    precision: str,
    values: Mapping[Tensor, np.ndarray],
    found: np.ndarray,
    repeats: int,
) -> dict[str, Any]:
    """PyTorch's time of the same op, and both errors relative to float64."""
    dtype = set_precision(torch, precision)
    arrays = [values[t] for t in op.reads]
    call = operation(torch, op, arrays, dtype)
    theirs = call()
    ms = milliseconds(TorchClock(torch), call, repeats)
    exact = operation(torch, op, arrays, torch.float64, rounded=dtype)()
    mine = torch.from_numpy(np.ascontiguousarray(found)).to(exact.device, torch.float64)
    norm = exact.norm()
    return {
        "torch_ms": ms,
        "error": float((mine.reshape(exact.shape) - exact).norm() / norm),
        "torch_error": float((theirs.to(torch.float64) - exact).norm() / norm),
    }


def operation(
    torch: Any, op: Op, arrays: list[np.ndarray], dtype: Any, rounded: Any = None
) -> Callable[[], Any]:
    """A call that makes the op's first write, NHWC or KRSC."""
    where = place(torch)

    def tensor(array: np.ndarray) -> Any:
        t = torch.from_numpy(np.ascontiguousarray(array)).to(where)
        return (t if rounded is None else t.to(rounded)).to(dtype)

    tensors = [tensor(array) for array in arrays]
    name = op.function.__name__
    if name.startswith("linear"):
        return _linear(torch, name, tensors)
    return _convolution(torch, op, tensors)


def _linear(torch: Any, name: str, tensors: list[Any]) -> Callable[[], Any]:
    first, second, *bias = tensors
    return {
        "linear_forward": lambda: torch.nn.functional.linear(first, second, *bias),
        "linear_dgrad": lambda: first @ second,
        "linear_wgrad": lambda: first.T @ second,
    }[name]


def _convolution(torch: Any, op: Op, tensors: list[Any]) -> Callable[[], Any]:
    window, groups = op.attributes["window"], op.attributes["groups"]
    how = list(window.stride), list(window.padding), list(window.dilation)

    def nchw(t: Any) -> Any:
        return t.permute(0, 3, 1, 2)  # a view: channels_last

    if op.function.__name__ == "conv2d_forward":
        x, w, *bias = tensors
        x, w = nchw(x), nchw(w)
        forward = torch.nn.functional.conv2d
        return lambda: forward(x, w, *(bias or [None]), *how, groups).permute(0, 2, 3, 1)
    dgrad = op.function.__name__ == "conv2d_dgrad"
    dy, other = nchw(tensors[0]), nchw(tensors[1])
    shape = op.writes[0].shape
    missing = torch.empty(shape, dtype=dy.dtype, device=dy.device).permute(0, 3, 1, 2)
    x, w = (missing, other) if dgrad else (other, missing)
    mask = [dgrad, not dgrad, False]
    backward = torch.ops.aten.convolution_backward

    def call() -> Any:
        made = backward(dy, x, w, None, *how, False, [0, 0], groups, mask)
        return made[0 if dgrad else 1].permute(0, 2, 3, 1)

    return call
