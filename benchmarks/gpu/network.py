"""A network at a batch, and its step as it is measured: images that are on the device already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.gpu.timing import milliseconds

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """What is measured and checked."""

    build: Callable[[], dl.Network]
    batch: int
    reference_batch: int
    """The batch at which it is compared with float64 on the host."""
    lr: float = 1e-3
    smooth: bool = True
    """Whether its gradients survive rounding: not behind dozens of batch normalizations."""

    @property
    def model(self) -> str:
        return self.build.__name__

    @property
    def name(self) -> str:
        return f"{self.model} b{self.batch}"


def optimizer(lr: float) -> dl.Optimizer:
    """What every engine is timed with."""
    return dl.SGD(lr=lr, momentum=0.9, weight_decay=5e-4)


def batch_of(network: dl.Network, batch: int, classes: int = 5) -> Batch:
    """The same images in every process, drawn in a moment: few, each with its own brightness."""
    ((shape, dtype),) = network.input_specs
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, batch)
    few = min(batch, 8)
    if dtype == "uint8":
        block = generator.integers(0, 200, (few, *shape), np.uint8)
        shift = generator.integers(0, 56, (batch, 1, 1, 1), np.uint8)
    else:
        block = generator.standard_normal((few, *shape), np.float32)
        shift = 0.1 * generator.standard_normal((batch, 1, 1, 1), np.float32)
    return np.concatenate([block] * -(-batch // few))[:batch] + shift, labels


class Resident:
    """A compiled step whose batch lies on the device beside the arena. Each run first copies it
    there, where a step uses its bytes again: without that a second run would train on remains."""

    def __init__(self, device: Any, network: dl.Network, data: Batch, **how: Any) -> None:
        self.device, self.data = device, data
        self.step = dl.compile(network, len(data[0]), device=device, **how)
        self.kept: list[tuple[Any, int, int]] = []

    def _keep(self) -> None:
        step, device = self.step, self.device
        step.put(*self.data)
        for t in step.plan.graph.inputs:
            offset = step.plan.offset(t)
            there = device.allocate(t.nbytes, 256)
            device.write(there, 0, device.read(step.arena.bytes, offset, t.nbytes))
            self.kept.append((there, step.arena.bytes.ptr + offset, t.nbytes))

    def fill(self) -> None:
        if not self.kept:
            self._keep()
        device, runtime = self.device, self.device.runtime
        with device.running():
            for source, to, nbytes in self.kept:
                kind = runtime.memcpyDeviceToDevice
                runtime.memcpyAsync(to, source.ptr, nbytes, kind, device.stream.ptr)

    def run(self) -> None:
        self.fill()
        self.step._run()

    def milliseconds(self, repeats: int) -> float:
        return milliseconds(self.device, self.run, repeats)
