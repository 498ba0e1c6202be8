"""Time of a whole training step, `arena` and `naive`, beside PyTorch's, interleaved in one run.

Fair terms: the same batch, pictures already on the device on both sides (minidl copies them into
the arena in every step, and that counts), SGD with momentum and weight decay, PyTorch in
channels_last with bf16 autocast or TF32 or neither: eager, torch.compile and reduce-overhead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.gpu import torch_ops
from benchmarks.gpu.deadline import Deadline, cases_in_time
from benchmarks.gpu.timing import Call, TorchClock, interleaved
from minidl import models

CASES = (
    (models.vgg16, 64, "bf16"),
    (models.alexnet, 128, "bf16"),
    (models.vgg16, 64, "float32"),
    (models.vgg16, 64, "tf32"),
    (models.resnet50, 64, "bf16"),
    (models.vgg16, 128, "bf16"),
    (models.alexnet, 512, "bf16"),
    (models.alexnet, 128, "tf32"),
    (models.alexnet, 128, "float32"),
    (models.resnet50, 64, "tf32"),
    (models.resnet50, 64, "float32"),
    (models.vgg16, 128, "tf32"),
    (models.vgg16, 128, "float32"),
    (models.alexnet, 512, "tf32"),
    (models.alexnet, 512, "float32"),
)
ENGINES = {"eager": None, "compile": "default", "reduce-overhead": "reduce-overhead"}
COMPILED = ("bf16", "tf32")
"""Precisions in which the compiled engines are measured too."""
Row = dict[str, Any]


def measure(
    device: Any, deadline: Deadline, cases: Any = CASES, rounds: int = 5, repeats: int = 6
) -> list[Row]:
    torch, rows = torch_ops.torch_or_none(), list[Row]()
    for row, build, batch, precision in cases_in_time(cases, deadline, rows):
        network = build()
        data = batch_of(network, batch)
        calls: dict[str, Call] = {
            memory: resident_step(device, network, batch, precision, memory, data)
            for memory in ("arena", "naive")
        }
        if torch is not None and build.__name__ in torch_models(torch):
            for engine in ENGINES if precision in COMPILED else ["eager"]:
                calls[engine] = torch_step(torch, build.__name__, data, precision, engine)
        clocks = {n: device if n in ("arena", "naive") else TorchClock(torch) for n in calls}
        row["engines"] = interleaved(clocks, calls, rounds, repeats)
        print(row, flush=True)
    return rows


def batch_of(network: dl.Network, batch: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    ((shape, _),) = network.input_specs
    images = generator.standard_normal((batch, *shape), np.float32)
    return images, generator.integers(0, 5, batch)


def optimizer() -> dl.Optimizer:
    return dl.SGD(lr=0.01, momentum=0.9, weight_decay=5e-4)


def resident_step(
    device: Any,
    network: dl.Network,
    batch: int,
    precision: str,
    memory: str,
    data: tuple[np.ndarray, np.ndarray],
) -> Callable[[], None]:
    """A step on pictures that are on the device: the call copies them into the arena."""
    step = dl.compile(
        network, batch, device=device, precision=precision, memory=memory, optimizer=optimizer()
    )
    step(*data)
    if device.on_host:
        return lambda: void(step(*data))
    step.put(*data)
    kept = []
    for t in step.plan.graph.inputs:
        there = device.allocate(t.nbytes, 256)
        device.write(there, 0, device.read(step.arena.bytes, step.plan.offset(t), t.nbytes))
        kept.append((there, step.arena.bytes.ptr + step.plan.offset(t), t.nbytes))
    runtime = device.runtime

    def call() -> None:
        for source, to, nbytes in kept:
            runtime.memcpyAsync(
                to, source.ptr, nbytes, runtime.memcpyDeviceToDevice, device.stream.ptr
            )
        step._run()

    return call


def void(_: object) -> None:
    """Only the time counts."""


def torch_models(torch: Any) -> tuple[str, ...]:
    """Models that torchvision has; none without it, or without a GPU."""
    try:
        import torchvision
    except ImportError:
        return ()
    names = ("alexnet", "vgg16", "resnet50") if torch.cuda.is_available() else ()
    return tuple(name for name in names if hasattr(torchvision.models, name))


def torch_step(
    torch: Any, model: str, data: tuple[np.ndarray, np.ndarray], precision: str, engine: str
) -> Callable[[], None]:
    import torchvision

    torch._dynamo.reset()
    torch_ops.set_precision(torch, precision)
    layout = torch.channels_last
    net = torchvision.models.get_model(model, weights=None).to("cuda", memory_format=layout)
    net.train()
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x = torch.from_numpy(data[0]).to("cuda").permute(0, 3, 1, 2)
    y = torch.from_numpy(data[1]).to("cuda")
    mode = ENGINES[engine]
    forward = net if mode is None else torch.compile(net, mode=mode)

    def call() -> None:
        torch_ops.set_precision(torch, precision)
        sgd.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(forward(x), y)
        loss.backward()
        sgd.step()

    for _ in range(5):
        call()
    return call
