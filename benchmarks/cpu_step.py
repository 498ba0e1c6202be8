"""Step time on the CPU device beside PyTorch's CPU build, interleaved in one run.

    python -m benchmarks.cpu_step [--rounds 5] [--out FILE.json]

AlexNet b32 and VGG-16 b8 at 224x224, float32, SGD with momentum and weight decay, the same batch
on both sides. PyTorch runs with its default thread count, in NCHW and channels_last; the better
of the two is what counts. minidl runs `arena` and `naive`. One round is one step of each engine
in turn; the medians of the rounds are compared. Also: the largest transient allocation of one
minidl step, by tracemalloc. Needs the [benchmark] extra.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import minidl as dl
from benchmarks import torch_models

CASES = [("alexnet", 32), ("vgg16", 8)]
IMAGE = (224, 224, 3)


def torch_step(
    model: str, images: np.ndarray, labels: np.ndarray, layout: torch.memory_format
) -> Callable[[], None]:
    net = getattr(torch_models, model)().to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
    y = torch.from_numpy(labels)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def minidl_step(
    model: str, images: np.ndarray, labels: np.ndarray, memory: str
) -> Callable[[], None]:
    step = dl.compile(
        dl.models.MODELS[model](image=IMAGE),
        len(images),
        optimizer=dl.SGD(lr=0.01, momentum=0.9, weight_decay=5e-4),
        memory=memory,
    )
    return lambda: void(step(images, labels))


def void(_: object) -> None:
    """Only the time counts."""


def transient_bytes(step: Callable[[], None]) -> int:
    """The most bytes that one step holds beside the arena, as tracemalloc sees them."""
    tracemalloc.start()
    step()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def measure(model: str, batch: int, rounds: int) -> dict[str, object]:
    chance = np.random.default_rng(0)
    images = chance.standard_normal((batch, *IMAGE), dtype=np.float32)
    labels = chance.integers(0, 1000, batch)
    engines = {
        "minidl arena": minidl_step(model, images, labels, "arena"),
        "minidl naive": minidl_step(model, images, labels, "naive"),
        "PyTorch NCHW": torch_step(model, images, labels, torch.contiguous_format),
        "PyTorch channels_last": torch_step(model, images, labels, torch.channels_last),
    }
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name, step in engines.items():
            start = time.perf_counter()
            step()
            if turn:
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(t) for name, t in times.items()}
    best = min(medians["PyTorch NCHW"], medians["PyTorch channels_last"])
    return {
        "model": model,
        "batch": batch,
        "seconds": medians,
        "all_seconds": times,
        "arena_over_pytorch": medians["minidl arena"] / best,
        "arena_over_naive": medians["minidl arena"] / medians["minidl naive"],
        "transient_bytes": transient_bytes(engines["minidl arena"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", choices=[model for model, _ in CASES], help="only this one")
    options = parser.parse_args()
    rows = []
    for model, batch in CASES:
        if options.model not in (None, model):
            continue
        row = measure(model, batch, options.rounds)
        rows.append(row)
        for name, seconds in row["seconds"].items():
            print(f"{model} b{batch}  {name:<22} {seconds:7.3f} s")
        print(
            f"{model} b{batch}  arena / PyTorch {row['arena_over_pytorch']:.2f}  "
            f"arena / naive {row['arena_over_naive']:.3f}  "
            f"transient {row['transient_bytes'] / 2**20:.2f} MiB",
            flush=True,
        )
    if options.out is not None:
        about = {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        about |= {"threads": torch.get_num_threads(), "machine": platform.machine()}
        options.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
