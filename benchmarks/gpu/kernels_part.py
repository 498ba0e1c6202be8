"""Each convolution, product and bandwidth-bound op of the networks, beside PyTorch's same op.

TFLOP/s of products as a share of the measured ceiling, PyTorch's 8192^3 product in the same
precision; GB/s of the rest as a share of the measured copy bandwidth; the error of products
against float64. Every op runs alone, on buffers of its own filled with random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.gpu import torch_ops
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.timing import milliseconds
from minidl import models
from minidl.devices.kernels import bind
from minidl.ir import Op, Tensor
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16
from minidl.ir.tensor import host_dtype
from minidl.launches.product import Tuning

CASES = ((models.vgg16, 64), (models.alexnet, 128), (models.resnet50, 64))
PRECISIONS = ("float32", "tf32", "bf16")
PRODUCTS = tuple(
    f"{layer}_{phase}" for layer in ("conv2d", "linear") for phase in ("forward", "dgrad", "wgrad")
)
SMALL = 0x3C
"""A float32 or a bfloat16 of these bytes is about 0.01."""
Row = dict[str, Any]


class Alone:
    """One op as a plan of its own, in device memory."""

    def __init__(self, device: Any, op: Op, drawn: bool = True) -> None:
        """drawn: reads are random numbers, else one small number, which takes no time to make."""
        self.ops, self.device, self.op = (op,), device, op
        self.places: dict[Tensor, int] = {}
        end = 0
        for t in dict.fromkeys(t.storage for t in (*op.writes, *op.reads)):
            self.places[t] = end
            end += -(-t.nbytes // 256) * 256
        self.memory = device.allocate(end, 256)
        device.fill(self.memory, 0, end, SMALL)
        self.values = {t: _random(t) for t in op.reads} if drawn else {}
        for t, value in self.values.items():
            raw = to_bfloat16(value) if t.dtype == "bfloat16" else value
            device.write(self.memory, self.places[t.storage], raw)
        base = self.memory.ctypes.data if device.on_host else self.memory.ptr
        self.calls = bind(self, base, device)  # type: ignore[arg-type]

    @property
    def graph(self) -> Alone:
        return self

    def offset(self, t: Tensor) -> int:
        return self.places[t.storage] + t.start

    def run(self) -> None:
        with self.device.running():
            for call in self.calls:
                call()

    def result(self) -> np.ndarray:
        t = self.op.writes[0]
        raw = self.device.read(self.memory, self.offset(t), t.nbytes)
        values = raw.view(host_dtype(t.dtype)).reshape(t.shape)
        return from_bfloat16(values) if t.dtype == "bfloat16" else values


def _random(t: Tensor) -> np.ndarray:
    generator = np.random.default_rng(t.size)
    if t.dtype == "int64":
        return np.zeros(t.shape, np.int64)
    if t.dtype.startswith("uint"):
        return np.zeros(t.shape, t.dtype)
    return generator.standard_normal(t.shape, np.float32)


def measure(
    device: Any, deadline: Deadline, cases: Any = CASES, repeats: int = 20, ceiling: int = 8192
) -> list[Row]:
    torch = torch_ops.torch_or_none()
    rows: list[Row] = [copy_bandwidth(device, repeats, ceiling * 2**17)]
    for precision in PRECISIONS:
        most = torch_ops.ceiling(torch, precision, ceiling) if torch else None
        rows.append({"ceiling": precision, "tflops": most})
        for build, batch in cases:
            name = build.__name__
            for op in distinct_ops(build(), batch, precision):
                if not deadline.passed:
                    rows.append({"model": name, "batch": batch, "precision": precision})
                    rows[-1] |= one(device, op, precision, torch, most, repeats)
                    print(rows[-1], flush=True)
    if deadline.passed:
        rows.append({"left out": "cases after the time limit"})
    return rows


def copy_bandwidth(device: Any, repeats: int, nbytes: int) -> Row:
    """GB/s, read and written, of the device's own copy; None where the device is the host."""
    if device.on_host:
        return {"copy": "not on a GPU", "gbytes_per_s": None}
    source, to = device.allocate(nbytes, 256), device.allocate(nbytes, 256)
    runtime = device.runtime

    def copy() -> None:
        runtime.memcpyAsync(
            to.ptr, source.ptr, nbytes, runtime.memcpyDeviceToDevice, device.stream.ptr
        )

    copy()
    ms = milliseconds(device, copy, repeats)
    return {"copy": "device to device", "gbytes_per_s": 2 * nbytes / ms / 1e6}


def distinct_ops(
    network: dl.Network, batch: int, precision: str, tuning: Tuning | None = None
) -> Iterator[Op]:
    """The ops of a step without fusing, one of each kernel and shapes."""
    plan = dl.plan(
        network,
        batch,
        device="cuda",
        precision=precision,
        memory="naive",
        tuning=tuning,
        modes=False,
    )
    seen = set()
    for op in plan.graph.ops:
        key = op.kernel, tuple(t.shape for t in (*op.writes, *op.reads)), str(op.attributes)
        if key not in seen and op.bytes_moved > 2**20:
            seen.add(key)
            yield op


def one(device: Any, op: Op, precision: str, torch: Any, most: float | None, repeats: int) -> Row:
    alone = Alone(device, op)
    alone.run()
    ms = milliseconds(device, alone.run, repeats)
    row: Row = {"op": op.name, "kernel": op.kernel, "shape": list(op.writes[0].shape), "ms": ms}
    if op.function.__name__ not in PRODUCTS:
        return row | {"gbytes_per_s": op.bytes_moved / ms / 1e6}
    row["tflops"] = op.flops / ms / 1e9
    row["share_of_ceiling"] = row["tflops"] / most if most else None
    if torch is not None:
        alone.run()
        row |= torch_ops.beside(torch, op, precision, alone.values, alone.result(), repeats)
    return row
