"""A step of almost no work, 64-128-10, beside PyTorch's eager mode: what calling costs.

    python -m benchmarks.tiny_step [--rounds 15] [--out FILE.json]

SGD with momentum, float32, cross-entropy of the same random batch, on the CPU. One round is `STEPS`
steps of each engine in turn; the medians of the rounds are compared. PyTorch runs with its default
thread count, as minidl does. Needs the [benchmark] extra.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import minidl as dl

BATCHES = (1, 8, 64)
FEATURES, HIDDEN, CLASSES = 64, 128, 10
STEPS = 200


def minidl_step(x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    layers = dl.Input(FEATURES), dl.Linear(HIDDEN), dl.ReLU(), dl.Linear(CLASSES)
    step = dl.compile(dl.Sequential(*layers), len(x), optimizer=dl.SGD(0.01, momentum=0.9))
    return lambda: step(x, y)


def torch_step(x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    first, last = torch.nn.Linear(FEATURES, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    net = torch.nn.Sequential(first, torch.nn.ReLU(), last)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def measure(batch: int, rounds: int) -> dict[str, object]:
    """Microseconds a step by engine: medians and all rounds."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((batch, FEATURES), dtype=np.float32)
    y = draw.integers(0, CLASSES, batch)
    engines = {"minidl": minidl_step(x, y), "PyTorch": torch_step(x, y)}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name, step in engines.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                step()
            if turn:
                times[name].append((time.perf_counter() - start) / STEPS * 1e6)
    medians = {name: statistics.median(t) for name, t in times.items()}
    ratio = medians["minidl"] / medians["PyTorch"]
    return {"batch": batch, "microseconds": medians, "minidl_over_pytorch": ratio, "all": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for batch in BATCHES:
        rows.append(row := measure(batch, options.rounds))
        shown = "  ".join(f"{name} {us:6.0f} us" for name, us in row["microseconds"].items())
        print(f"batch {batch:3}  {shown}  minidl / PyTorch {row['minidl_over_pytorch']:.2f}")
    if options.out is not None:
        about = {"torch": torch.__version__, "numpy": np.__version__}
        about |= {"python": platform.python_version(), "threads": torch.get_num_threads()}
        options.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
