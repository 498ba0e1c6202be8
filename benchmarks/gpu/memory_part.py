"""Bytes: predicted, taken from the device, taken during steps; PyTorch's; the largest batches.

The largest batch is looked for under a limit that a smaller card has, 12 GiB: minidl's is planned
and then trained, PyTorch's is found by halving until a step no longer fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl as dl
from benchmarks.gpu import torch_ops
from benchmarks.gpu.deadline import Deadline, cases_in_time
from benchmarks.gpu.train_part import batch_of, optimizer, torch_models, torch_step
from minidl import models

CASES = (
    (models.vgg16, 128, "float32"),
    (models.vgg16, 64, "float32"),
    (models.vgg16, 128, "bf16"),
    (models.alexnet, 512, "float32"),
    (models.resnet50, 64, "float32"),
)
LIMIT = 12 * 2**30
MOST = 1024
Row = dict[str, Any]


def measure(
    device: Any, deadline: Deadline, cases: Any = CASES, limit: int = LIMIT, steps: int = 10
) -> list[Row]:
    torch, rows = torch_ops.torch_or_none(), list[Row]()
    for row, build, batch, precision in cases_in_time(cases, deadline, rows):
        row |= _ours(device, build(), batch, precision, steps)
        row["largest_batch"] = _largest(device, build(), precision, limit)
        row["limit"] = limit
        if torch is not None and build.__name__ in torch_models(torch):
            row["torch_peak_bytes"] = _torch_peak(torch, build, batch, precision)
            row["torch_largest_batch"] = _torch_largest(torch, build, precision, limit)
        print(row, flush=True)
    return rows


def _ours(device: Any, network: dl.Network, batch: int, precision: str, steps: int) -> Row:
    data = batch_of(network, batch)
    dl.compile(network, batch, device=device, precision=precision)(*data)  # modules are loaded now
    before = device.available()
    step = dl.compile(network, batch, device=device, precision=precision, optimizer=optimizer())
    taken = before - device.available()
    step(*data)
    first = device.available()
    for _ in range(steps):
        step(*data)
    return {
        "predicted_bytes": step.plan.arena_bytes,
        "arena_bytes": step.arena.bytes.nbytes if device.on_host else step.arena.bytes.mem.size,
        "device_says_bytes": taken,
        "taken_during_steps_bytes": first - device.available(),
    }


def _largest(device: Any, network: dl.Network, precision: str, limit: int) -> int:
    """The batch that the plan promises for `limit`, after a step on it."""
    plan = dl.plan(
        network, 8, device="cuda", precision=precision, optimizer=optimizer(), modes=False
    )
    batch = plan.largest_batch(limit)
    step = dl.compile(network, batch, device=device, precision=precision, optimizer=optimizer())
    step(*batch_of(network, batch))
    return batch


def _torch_peak(torch: Any, build: Callable[[], dl.Network], batch: int, precision: str) -> int:
    torch.cuda.empty_cache()
    call = torch_step(torch, build.__name__, batch_of(build(), batch), precision, "eager")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())


def _torch_largest(torch: Any, build: Callable[[], dl.Network], precision: str, limit: int) -> int:
    """The largest batch whose step stays within `limit` bytes of the caching allocator."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total)
    low, high = 0, MOST
    try:
        while high - low > max(1, low // 50):
            middle = (low + high) // 2
            torch.cuda.empty_cache()
            try:
                data = batch_of(build(), middle)
                torch_step(torch, build.__name__, data, precision, "eager")
                low = middle
            except torch.cuda.OutOfMemoryError:
                high = middle
    finally:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)
    return low
