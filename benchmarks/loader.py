"""Images per second and core of the loader beside PyTorch's DataLoader, interleaved in one run.

    python -m benchmarks.loader FOLDER [--rounds 7] [--out FILE.json]

FOLDER has `<class>/<image>.jpg`. Both sides do torchvision's RandomResizedCrop(224) with its
default values, a flip in half of the cases, and batches of uint8; PyTorch in CHW as
torchvision makes it, minidl in NHWC. "minidl" decodes a JPEG at 1/2, 1/4 or 1/8 where the region is
that much larger than 224; "minidl exact" does not. With 0 workers the one process decodes, with 1
and 2 that many worker processes do. One round is one pass over the folder, repeated to `IMAGES`
images, by each engine in turn; workers are started before the first round, which is left out.
The medians of the rounds are compared. PyTorch has one thread a process. Needs the [benchmark] and
[data] extras.
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
import PIL
import torch
import torchvision
from torchvision.transforms import v2

from minidl.data import ImageFolder, Loader, RandomResizedCrop, Subset
from minidl.ops.host import cores

SIDE, BATCH, IMAGES = 224, 32, 512
WORKERS = (0, 1, 2)

Pass = Callable[[int], int]
"""One pass with a number of its own; how many images came."""


def repeated(count: int) -> list[int]:
    return [i % count for i in range(IMAGES)]


def minidl_pass(folder: Path, workers: int, reduce: bool) -> Pass:
    source = ImageFolder(folder)
    loader = Loader(
        Subset(source, repeated(len(source))),
        BATCH,
        transform=RandomResizedCrop(SIDE, reduce=reduce),
        seed=0,
        workers=workers,
    )
    return lambda turn: sum(len(images) for images, _ in loader.epoch(turn))


def torch_pass(folder: Path, workers: int) -> Pass:
    transform = v2.Compose(
        [v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    )
    data = torchvision.datasets.ImageFolder(str(folder), transform)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.Subset(data, repeated(len(data))),
        BATCH,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    return lambda _: sum(len(images) for images, _ in loader)


def measure(folder: Path, workers: int, rounds: int) -> dict[str, object]:
    """Images per second and core by engine: medians and all rounds."""
    engines = {
        "minidl": minidl_pass(folder, workers, reduce=True),
        "minidl exact": minidl_pass(folder, workers, reduce=False),
        "PyTorch": torch_pass(folder, workers),
    }
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name, one_pass in engines.items():
            start = time.perf_counter()
            count = one_pass(turn)
            if turn:
                seconds = time.perf_counter() - start
                speeds[name].append(count / seconds / max(1, workers))
    medians = {name: statistics.median(of_one) for name, of_one in speeds.items()}
    return {
        "workers": workers,
        "images_per_second_and_core": medians,
        "all": speeds,
        "minidl_over_pytorch": medians["minidl"] / medians["PyTorch"],
        "exact_over_pytorch": medians["minidl exact"] / medians["PyTorch"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for workers in WORKERS:
        row = measure(options.folder, workers, options.rounds)
        rows.append(row)
        shown = "  ".join(f"{n} {s:.0f}" for n, s in row["images_per_second_and_core"].items())
        print(
            f"{workers} workers  {shown} images/s and core  "
            f"minidl / PyTorch {row['minidl_over_pytorch']:.2f}  "
            f"exact / PyTorch {row['exact_over_pytorch']:.2f}",
            flush=True,
        )
    if options.out is not None:
        about = {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": cores(),
            "images": IMAGES,
            "batch": BATCH,
        }
        options.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
