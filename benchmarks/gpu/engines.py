"""What a training step is timed beside: PyTorch eager and compiled, or a table in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu import torch_ops
from benchmarks.gpu.timing import TorchClock, milliseconds

Batch = tuple[np.ndarray, np.ndarray]


class Timed(Protocol):
    """A step that is ready to run."""

    def milliseconds(self, repeats: int) -> float:
        """Of one step, from `repeats` behind each other and one wait at the end."""


class Engine(Protocol):
    """Another framework that runs the same training step."""

    name: str
    slow_start: bool
    """Whether it compiles first, for up to minutes."""

    def step(self, model: str, data: Batch, precision: str) -> Timed:
        """The step of a network of the zoo on this batch (pictures NHWC): SGD with momentum."""

    def product_tflops(self, precision: str) -> float:
        """What its large square matrix product reaches: the ceiling of ours."""


class TorchEngine:
    """PyTorch with torchvision's networks: channels_last, autocast in bf16, TF32 if asked for."""

    def __init__(self, torch: Any, mode: str | None = None) -> None:
        """mode: of torch.compile; None: eager."""
        self.torch, self.mode = torch, mode
        self.name = "eager" if mode is None else "compiled"
        self.slow_start = mode is not None

    def step(self, model: str, data: Batch, precision: str) -> Timed:
        return TorchStep(self.torch, self.mode, model, data, precision)

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


@dataclass(frozen=True)
class TableEngine:
    """Times from a table, where nothing can be measured: by (model, precision), in ms."""

    name: str
    times: Mapping[tuple[str, str], float]
    tflops: float = 1e-3
    slow_start: bool = False

    def step(self, model: str, data: Batch, precision: str) -> Timed:
        return TableStep(self.times[model, precision])

    def product_tflops(self, precision: str) -> float:
        return self.tflops


@dataclass(frozen=True)
class TableStep:
    ms: float

    def milliseconds(self, repeats: int) -> float:
        return self.ms
