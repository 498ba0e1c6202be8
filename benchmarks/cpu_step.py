"""Step time on the CPU device beside PyTorch's CPU build, interleaved in one run.

    python -m benchmarks.cpu_step [--rounds 5] [--out FILE.json]

AlexNet b32, VGG-16 b8 and ResNet-50 b8 at 224x224, float32, SGD with momentum and weight decay, the
same batch on both sides; ResNet-50 in minidl alone. PyTorch runs with its default thread count, in
NCHW and channels_last; the better of the two is what counts. minidl runs `naive`, `arena`, and
`arena` with 5 % of its operations allowed a second time. One round is one step of each engine in
turn; the medians of the rounds are compared. Also: the largest transient allocation of one minidl
step, by tracemalloc. Needs the [benchmark] extra.
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

CASES = [("alexnet", 32), ("vgg16", 8), ("resnet50", 8)]
RECOMPUTE = 0.05
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
    model: str, images: np.ndarray, labels: np.ndarray, memory: str, recompute: float | None = None
) -> tuple[Callable[[], None], float]:
    """A step, and the share of its operations that it does a second time."""
    step = dl.compile(
        dl.models.MODELS[model](image=IMAGE),
        len(images),
        optimizer=dl.SGD(lr=0.01, momentum=0.9, weight_decay=5e-4),
        memory=memory,
        recompute=recompute,
    )
    plan = step.plan
    share = plan.recompute_flops / (plan.graph.flops - plan.recompute_flops)
    return lambda: void(step(images, labels)), share


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
    ours = {
        "minidl naive": minidl_step(model, images, labels, "naive"),
        "minidl arena": minidl_step(model, images, labels, "arena"),
        "minidl recompute": minidl_step(model, images, labels, "arena", RECOMPUTE),
    }
    engines = {name: step for name, (step, _) in ours.items()}
    if hasattr(torch_models, model):
        for layout in (torch.contiguous_format, torch.channels_last):
            engines[f"PyTorch {layout}"] = torch_step(model, images, labels, layout)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name, step in engines.items():
            start = time.perf_counter()
            step()
            if turn:
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(t) for name, t in times.items()}
    theirs = [seconds for name, seconds in medians.items() if name.startswith("PyTorch")]
    naive = medians["minidl naive"]
    return {
        "model": model,
        "batch": batch,
        "seconds": medians,
        "all_seconds": times,
        "arena_over_pytorch": medians["minidl arena"] / min(theirs) if theirs else None,
        "arena_over_naive": medians["minidl arena"] / naive,
        "recompute_over_naive": medians["minidl recompute"] / naive,
        "recompute_share": ours["minidl recompute"][1],
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
        beside = row["arena_over_pytorch"]
        print(
            f"{model} b{batch}  arena / PyTorch {f'{beside:.2f}' if beside else '-'}  "
            f"arena / naive {row['arena_over_naive']:.3f}  "
            f"recompute / naive {row['recompute_over_naive']:.3f} "
            f"for {row['recompute_share']:.2%} more operations  "
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
