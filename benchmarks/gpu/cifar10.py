"""A real training on a GPU: VGG-16 with batch normalization on CIFAR-10.

    python -m benchmarks.gpu.cifar10 --data TAR --out DIR [--epochs 60] [--precision bf16]

TAR has pictures as train/<class>/*.jpg and test/<class>/*.jpg. First `arena` and `naive` train
on the same batches, and their losses must agree to the bit; then `arena` trains, with the log, the
curves and the checkpoints of the run in DIR/cifar10. DIR/cifar10.json says what came of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import minidl as dl
from benchmarks.gpu.about import about, write_once
from minidl import models
from minidl.data import Arrays, ImageTar, Loader, decoded, evaluation, training
from minidl.train import OneCycle, Png, Trainer

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Of the training pictures, by channel, in [0, 255]."""
SIDE = 32


def compiled(
    network: dl.Network, batch: int, lr: float, device: Any, precision: str, memory: str
) -> dl.Step:
    ahead = not device.on_host
    return dl.compile(
        dl.from_bytes(network, MEAN, STD),
        batch,
        optimizer=dl.SGD(lr, 0.9, weight_decay=5e-4, nesterov=True),
        loss=dl.CrossEntropy(label_smoothing=0.1),
        device=device,
        precision=precision,
        memory=memory,
        prefetch=ahead,
    )


def losses(step: dl.Step, train: Loader, steps: int) -> list[str]:
    """The first losses, as bits."""
    batches = ((images.copy(), labels.copy()) for images, labels in train.epoch(0))
    return [loss.hex() for loss in step.feed(islice(batches, steps))]


def measure(
    device: Any,
    network: dl.Network,
    splits: Sequence[Arrays],
    out: Path,
    batch: int = 256,
    epochs: int = 60,
    lr: float = 0.1,
    precision: str = "bf16",
    compared: int = 50,
) -> dict[str, Any]:
    """Compare, train, and say how well and how fast."""
    train = Loader(splits[0], batch, training(SIDE), seed=0)
    test = Loader(splits[1], batch, evaluation(SIDE), seed=0, shuffle=False, drop_last=False)
    how = (network, batch, lr, device, precision)
    naive = losses(compiled(*how, "naive"), train, compared)
    arena = losses(compiled(*how, "arena"), train, compared)
    step = compiled(*how, "arena")
    start = time.perf_counter()
    folder = out / "cifar10"
    trainer = Trainer(step, schedule=OneCycle(), callbacks=[Png()], output_dir=folder, keep=1)
    history = trainer.fit(train, test, epochs)
    return {
        "model": network.name,
        "batch": batch,
        "precision": precision,
        "epochs": epochs,
        "steps_compared": len(arena),
        "arena_equals_naive": arena == naive,
        "test_accuracy": history.last.top1,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--precision", default="bf16")
    options = parser.parse_args()
    from minidl.devices.cuda import CudaDevice

    device, before = CudaDevice(), time.perf_counter()
    splits = [decoded(ImageTar(options.data, prefix=split)) for split in ("train", "test")]
    print(f"decoded in {time.perf_counter() - before:.0f} s", flush=True)
    how = {name: getattr(options, name) for name in ("batch", "epochs", "lr", "precision")}
    row = measure(device, models.vgg16_bn_small(), splits, options.out, **how)
    write_once(options.out / "cifar10.json", {"about": about(device), "rows": [row]})
    print(row)


if __name__ == "__main__":
    main()
