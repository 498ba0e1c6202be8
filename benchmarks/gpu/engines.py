"""What a training step is timed beside: PyTorch eager and compiled, or a table in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu import exact, torch_ops
from benchmarks.gpu.timing import TorchClock, milliseconds
from minidl.ir import Array, Op

Batch = tuple[np.ndarray, np.ndarray]


class Timed(Protocol):
    """A step that is ready to run."""

    def milliseconds(self, repeats: int) -> float:
        """Of one step or op, from `repeats` behind each other and one wait at the end."""


class TimedStep(Timed, Protocol):
    """A training step that is ready to run."""

    def peak_bytes(self) -> int:
        """The most that the tensors of a step take at a time, weights and images included."""


class Engine(Protocol):
    """Another framework that runs the same training step."""

    name: str

    def step(self, model: str, data: Batch, precision: str) -> TimedStep:
        """The step of a network of the zoo on this batch (images NHWC): SGD with momentum."""

    def op(self, op: Op, precision: str) -> Timed:
        """The same matrix product on the same numbers."""

    def errors(self, op: Op, precision: str, raw: Array) -> dict[str, float]:
        """`error` of what our op wrote, bytes, against float64, and the engine's own."""

    def fits(self, model: str, data: Batch, precision: str, limit: int) -> bool:
        """Whether a step on this batch stays within `limit` bytes."""

    def release(self) -> None:
        """Give back the memory of what is no longer in use."""

    def product_tflops(self, precision: str) -> float:
        """What its large square matrix product reaches: the ceiling of ours."""


NAMES = {None: "eager", "default": "compiled", "reduce-overhead": "reduce-overhead"}
"""Of an engine, by the mode of torch.compile; None: none."""


class TorchEngine:
    """PyTorch with torchvision's networks: channels_last, autocast in bf16, TF32 if asked for."""

    def __init__(self, torch: Any, mode: str | None = None) -> None:
        """mode: of torch.compile; None: eager."""
        self.torch, self.mode = torch, mode
        self.name = NAMES[mode]

    def step(self, model: str, data: Batch, precision: str) -> TimedStep:
        return TorchStep(self.torch, self.mode, model, data, precision)

    def op(self, op: Op, precision: str) -> Timed:
        return torch_ops.TorchOp(self.torch, op, precision)

    def errors(self, op: Op, precision: str, raw: Array) -> dict[str, float]:
        return torch_ops.errors(self.torch, op, precision, raw)

    def fits(self, model: str, data: Batch, precision: str, limit: int) -> bool:
        cuda = self.torch.cuda
        share = limit / cuda.get_device_properties(0).total_memory
        self.release()
        cuda.set_per_process_memory_fraction(min(1.0, share))
        try:
            TorchStep(self.torch, self.mode, model, data, precision)
        except cuda.OutOfMemoryError:
            return False
        finally:
            cuda.set_per_process_memory_fraction(1.0)
        return True

    def release(self) -> None:
        """The caching allocator keeps what nobody uses; so do the graphs of torch.compile."""
        if self.mode is not None:
            self.torch._dynamo.reset()
        self.torch.cuda.empty_cache()

    def product_tflops(self, precision: str) -> float:
        return torch_ops.ceiling(self.torch, precision, 8192)


class TorchStep:
    def __init__(
        self, torch: Any, mode: str | None, model: str, data: Batch, precision: str
    ) -> None:
        import torchvision

        self.torch, self.precision, self.clock = torch, precision, TorchClock(torch)
        torch.cuda.empty_cache()
        torch_ops.set_precision(torch, precision)
        layout = torch.channels_last
        net = torchvision.models.get_model(model, weights=None).to("cuda", memory_format=layout)
        net.train()
        self.sgd = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.x = torch.from_numpy(data[0]).to("cuda").permute(0, 3, 1, 2)
        self.y = torch.from_numpy(data[1]).to("cuda")
        if mode is not None:
            torch._dynamo.reset()
        self.forward = net if mode is None else torch.compile(net, mode=mode)
        for _ in range(4):
            self.run()
        self.clock.synchronize()

    def run(self) -> None:
        torch = self.torch
        self.sgd.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(self.forward(self.x), self.y)
        loss.backward()
        self.sgd.step()

    def milliseconds(self, repeats: int) -> float:
        torch_ops.set_precision(self.torch, self.precision)
        return milliseconds(self.clock, self.run, repeats)

    def peak_bytes(self) -> int:
        cuda = self.torch.cuda
        cuda.reset_peak_memory_stats()
        self.milliseconds(1)
        return int(cuda.max_memory_allocated())


@dataclass(frozen=True)
class TableEngine:
    """Times from a table, where nothing can be measured: by (model, precision), in ms."""

    name: str
    times: Mapping[tuple[str, str], float]
    tflops: float = 1e-3
    op_ms: float = 1.0
    image_bytes: int = 2**14
    """Of a step's memory, for each image."""

    def step(self, model: str, data: Batch, precision: str) -> TimedStep:
        return TableStep(self.times[model, precision], len(data[0]) * self.image_bytes)

    def op(self, op: Op, precision: str) -> Timed:
        return TableStep(self.op_ms, 0)

    def errors(self, op: Op, precision: str, raw: Array) -> dict[str, float]:
        return {"error": exact.error(op, precision, raw)}

    def fits(self, model: str, data: Batch, precision: str, limit: int) -> bool:
        return len(data[0]) * self.image_bytes <= limit

    def release(self) -> None:
        """It has no memory."""

    def product_tflops(self, precision: str) -> float:
        return self.tflops


@dataclass(frozen=True)
class TableStep:
    ms: float
    bytes: int

    def milliseconds(self, repeats: int) -> float:
        return self.ms

    def peak_bytes(self) -> int:
        return self.bytes
