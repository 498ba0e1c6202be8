"""PyTorch's side of one op: the same product, its time, and float64 as the judge of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.alone import block
from benchmarks.gpu.timing import TorchClock, milliseconds
from minidl.ir import Array, Op, Tensor

GRAPH_MS, MOST_LAUNCHES = 1.0, 32
"""As ours are timed: see `benchmarks.gpu.alone`."""


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
    """On the host the numbers of this module can be checked, not its times."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def ceiling(torch: Any, precision: str, size: int) -> float:
    """TFLOP/s of PyTorch's square product of random numbers."""
    dtype = set_precision(torch, precision)
    a, b = (torch.randn(size, size, device=place(torch)).to(dtype) for _ in range(2))
    clock = TorchClock(torch)
    torch.mm(a, b)
    ms = milliseconds(clock, lambda: torch.mm(a, b), 10)
    return float(2 * size**3 / ms / 1e9)


class TorchOp:
    """The same op on the same numbers by PyTorch, timed in a CUDA graph as ours is."""

    def __init__(self, torch: Any, op: Op, precision: str) -> None:
        self.torch, self.op = torch, op
        self.dtype = set_precision(torch, precision)
        self.call = operation(torch, op, [repeated(torch, t, self.dtype) for t in op.reads])
        self.graph: Any = None
        self.launches = 1

    def milliseconds(self, repeats: int) -> float:
        clock = TorchClock(self.torch)
        if self.graph is None:
            self._capture(clock)
        return milliseconds(clock, self.graph.replay, max(1, repeats // self.launches)) / (
            self.launches
        )

    def _capture(self, clock: TorchClock) -> None:
        """https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs: first some runs on
        another stream, in which cuDNN looks for its fastest algorithm."""
        cuda = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(3):
                self.call()
        cuda.current_stream().wait_stream(side)
        once = milliseconds(clock, self.call, 1)
        self.launches = max(1, min(MOST_LAUNCHES, round(GRAPH_MS / once)))
        self.graph = cuda.CUDAGraph()
        with cuda.graph(self.graph):
            for _ in range(self.launches):
                self.call()


def errors(torch: Any, op: Op, precision: str, raw: Array) -> dict[str, float]:
    """Of what our op wrote, bytes, and of what PyTorch's makes: norm of the error relative to that
    of float64 on the same rounded numbers. In float64 cuDNN looks for no fastest algorithm."""
    dtype = set_precision(torch, precision)
    theirs = operation(torch, op, [repeated(torch, t, dtype) for t in op.reads])()
    torch.backends.cudnn.benchmark = False
    rounded = [repeated(torch, t, dtype).to(torch.float64) for t in op.reads]
    exact = operation(torch, op, rounded)()
    norm = exact.norm()
    ours = as_tensor(torch, op.writes[0], raw).to(torch.float64).reshape(exact.shape)
    return {
        "error": float((ours - exact).norm() / norm),
        "engine_error": float((theirs.to(torch.float64) - exact).norm() / norm),
    }


def repeated(torch: Any, t: Tensor, dtype: Any) -> Any:
    """A tensor of PyTorch with the numbers that ours repeats, made on the device."""
    few = torch.from_numpy(block(t)).to(place(torch)).to(dtype)
    return few.repeat(-(-t.size // len(few)))[: t.size].reshape(t.shape)


def as_tensor(torch: Any, t: Tensor, raw: Array) -> Any:
    """Bytes of one of ours on PyTorch's device, flat."""
    if t.dtype == "bfloat16":
        return torch.from_numpy(raw.view(np.int16)).to(place(torch)).view(torch.bfloat16)
    return torch.from_numpy(raw.view(np.float32)).to(place(torch))


def operation(torch: Any, op: Op, tensors: list[Any]) -> Callable[[], Any]:
    """A call that makes the op's first write, NHWC or KRSC."""
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
