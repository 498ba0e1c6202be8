"""How well the CPU device trains: CIFAR-10 by minidl and by PyTorch, from the same starts.

    python -m benchmarks.cifar10_cpu --data PATH --out DIR [--model NAME] [--agreement]

PATH is what `minidl train --data-path` takes for CIFAR-10. A run is a recipe, a seed and an
engine. The seed decides first weights, order of the images, shifts and flips; both engines get
the same of each, PyTorch its weights from minidl's state dict. Only dropout's random numbers
differ, and the order in which sums are rounded. Accuracy is that on all test images.

Each run that ends is a file in DIR; one of the same recipe that is there is not done again.
DIR/cifar10.json has all of them and a summary. `--agreement` compares the losses of the first steps
without dropout instead. Use `taskset -c 0` for one core. Needs the [data] and [benchmark] extras.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import minidl as dl
from benchmarks import accuracy
from benchmarks.gpu.about import output_of
from minidl import models
from minidl.data import Loader, Source, Subset, decoded, evaluation, open_data, training
from minidl.data.dataset import order_of
from minidl.files.atomic import write_atomically
from minidl.ir import Array
from minidl.ops.host import cores
from minidl.train import OneCycle, Position, measure

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Of the training images, by channel, in [0, 255]."""
SEEDS = (0, 1, 2)
IN_ORDER: dict[str, Any] = {"seed": 0, "shuffle": False, "drop_last": False}
"""All images, as they lie."""
TENTHS = 10
Row = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """One training: SGD with momentum and weight decay on every parameter, the one-cycle schedule,
    images shifted by up to four pixels and flipped."""

    model: str
    side: int
    """Pixels of an image's side; 32x32 are enlarged bilinearly before they are shifted."""
    images: int
    """Of the training images, the same ones for every seed."""
    batch: int
    epochs: int
    lr: float
    """The highest learning rate of the cycle."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float | None = None
    """None where the network has none."""
    precision: str = "float32"
    """Of all arithmetic; float64 is for comparing the engines."""

    @property
    def sizes(self) -> Row:
        """What the network's builder is told, besides the images' size."""
        return {"classes": 10} | ({} if self.dropout is None else {"dropout": self.dropout})

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step of the run."""
        return self.lr * OneCycle().factor(Position(step, steps_per_epoch, self.epochs), {})

    def loaders(self, train: Source, test: Source, seed: int) -> tuple[Loader, Loader]:
        """Of batches for training, and of all test images in order."""
        chosen = Subset(train, order_of(len(train), 0, 0)[: self.images])
        return (
            Loader(chosen, self.batch, transform=training(self.side), seed=seed),
            Loader(test, self.batch, transform=evaluation(self.side), **IN_ORDER),
        )


RECIPES = (
    Recipe("vgg_small", side=32, images=10_000, batch=64, epochs=1, lr=0.05),
    Recipe("alexnet", side=64, images=10_000, batch=64, epochs=1, lr=0.01, dropout=0.5),
)


class Engine(Protocol):
    """A network in training."""

    def train(self, images: Array, labels: Array, rate: float) -> float:
        """One step on images (B, H, W, 3) uint8 at a learning rate; the loss before it."""

    def predict(self, images: Array) -> Array:
        """The outputs (N, 10) in front of the softmax, as when testing."""


class Minidl:
    """minidl's CPU device, in memory mode `arena`."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        image = (recipe.side, recipe.side, 3)
        network = models.MODELS[recipe.model](image=image, **recipe.sizes)
        optimizer = dl.SGD(recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
        network = dl.from_bytes(network, MEAN, STD)
        self.step = dl.compile(
            network, recipe.batch, optimizer=optimizer, precision=recipe.precision, seed=seed
        )

    def train(self, images: Array, labels: Array, rate: float) -> float:
        self.step.learning_rate = rate
        return self.step(images, labels)

    def predict(self, images: Array) -> Array:
        return self.step.predict(images)


class PyTorch:
    """PyTorch's CPU build, NCHW, with as many threads as minidl uses cores."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        import torch

        from benchmarks import torch_models

        self.torch = torch
        torch.set_num_threads(cores())
        torch.manual_seed(seed)
        self.dtype = getattr(torch, recipe.precision)
        self.net = getattr(torch_models, recipe.model)(**recipe.sizes).to(self.dtype)
        first = Minidl(recipe, seed).step.state_dict()
        self.net.load_state_dict({name: torch.from_numpy(first[name]) for name in first})
        how = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        self.optimizer = torch.optim.SGD(self.net.parameters(), recipe.lr, **how)

    def train(self, images: Array, labels: Array, rate: float) -> float:
        self.net.train()
        (group,) = self.optimizer.param_groups
        group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        targets = self.torch.from_numpy(labels)
        loss = self.torch.nn.functional.cross_entropy(self.net(self._floats(images)), targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict(self, images: Array) -> Array:
        self.net.eval()
        with self.torch.no_grad():
            return self.net(self._floats(images)).numpy()

    def _floats(self, images: Array) -> Any:
        """NCHW, normalised."""
        pixels = self.torch.from_numpy(images).permute(0, 3, 1, 2).to(self.dtype)
        mean, std = (self.torch.tensor(c, dtype=self.dtype).view(1, 3, 1, 1) for c in (MEAN, STD))
        return (pixels - mean) / std


ENGINES: dict[str, Callable[[Recipe, int], Engine]] = {"minidl": Minidl, "PyTorch": PyTorch}


def run(engine: Engine, recipe: Recipe, seed: int, train: Source, test: Source) -> Row:
    """Train and test; the times do not count what it took to make the engine."""
    batches, tests = recipe.loaders(train, test, seed)
    wall, busy = time.perf_counter(), time.process_time()
    losses: list[float] = []
    for epoch in range(recipe.epochs):
        for images, labels in batches.epoch(epoch):
            rate = recipe.rate(len(losses), len(batches))
            losses.append(engine.train(images, labels, rate))
    found = measure(engine, tests.epoch(0))
    return {
        "steps": len(losses),
        "first_losses": losses[:3],
        "epoch_losses": means(losses, recipe.epochs),
        "tenths_of_the_run": means(losses, min(TENTHS, len(losses))),
        "test_images": found.count,
        "test_loss": found.loss,
        "test_accuracy": found.top1,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - busy,
    }


def means(losses: Sequence[float], parts: int) -> list[float]:
    """Of consecutive parts."""
    return [float(part.mean()) for part in np.array_split(losses, parts)]


def agreement(recipe: Recipe, seed: int, train: Source, test: Source, steps: int = 3) -> Row:
    """The losses of both engines in the first steps of the run, without dropout."""
    if recipe.dropout is not None:
        recipe = replace(recipe, dropout=0.0)
    batches, _ = recipe.loaders(train, test, seed)
    losses: dict[str, list[float]] = {}
    for name, make in ENGINES.items():
        engine, first = make(recipe, seed), islice(batches.epoch(0), steps)
        rates = [recipe.rate(step, len(batches)) for step in range(steps)]
        losses[name] = [engine.train(*b, rate) for b, rate in zip(first, rates, strict=True)]
    apart = float(np.abs(np.subtract(losses["minidl"], losses["PyTorch"])).max())
    which = {"model": recipe.model, "precision": recipe.precision, "seed": seed}
    return which | {"losses": losses, "largest_difference": apart}


def about() -> Row:
    """Where a run took place."""
    return {
        "commit": output_of("git", "rev-parse", "HEAD"),
        "changed": bool(output_of("git", "status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": version_of("torch"),
        "machine": platform.machine(),
        "cores": cores(),
    }


def version_of(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())


def read(path: Path) -> Row:
    found: Row = json.loads(path.read_text(encoding="utf-8"))
    return found


def gather(folder: Path) -> Row:
    """Everything that has been written to the folder, and what it comes to."""
    rows, agreed = (
        [read(path) for path in sorted(folder.glob(f"{kind}-*.json"))] for kind in ("run", "agree")
    )
    return {"summary": accuracy.summary(rows), "agreement": agreed, "rows": rows}


def runs(
    folder: Path, recipes: Sequence[Recipe], seeds: Sequence[int], train: Source, test: Source
) -> None:
    """Every run that the folder lacks; all engines of a seed before the next seed."""
    for seed in seeds:
        for recipe in recipes:
            for name, make in ENGINES.items():
                path = folder / f"run-{recipe.model}-{name}-{seed}.json"
                if path.exists() and read(path)["recipe"] == asdict(recipe):
                    continue
                which = {"model": recipe.model, "engine": name, "seed": seed}
                row = run(make(recipe, seed), recipe, seed, train, test)
                row = which | {"recipe": asdict(recipe)} | row | about()
                write(path, row)
                write(folder / "cifar10.json", gather(folder))
                print(
                    path.stem, f"{row['test_accuracy']:.2%} in {row['seconds']:.0f} s", flush=True
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", choices=[recipe.model for recipe in RECIPES], help="only this")
    parser.add_argument("--agreement", action="store_true")
    options = parser.parse_args()
    recipes = [recipe for recipe in RECIPES if options.model in (None, recipe.model)]
    splits = open_data(options.data)
    train, test = decoded(splits.train), decoded(splits.test)
    if not options.agreement:
        runs(options.out, recipes, SEEDS, train, test)
        return
    for recipe, precision in product(recipes, ("float32", "float64")):
        row = agreement(replace(recipe, precision=precision), 0, train, test) | about()
        write(options.out / f"agree-{recipe.model}-{precision}.json", row)
        print(recipe.model, precision, row["losses"], row["largest_difference"], flush=True)
    write(options.out / "cifar10.json", gather(options.out))


if __name__ == "__main__":
    main()
