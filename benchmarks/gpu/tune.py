"""Measure every tile of every matrix product of a network and write the fastest to a tuning file.

    python -m benchmarks.gpu.tune --model vgg16 -b 64 --precision bf16 --out tuning.json [--limit S]

`dl.compile(..., tuning="tuning.json")` and `--tuning` then take those instead of the model's
choice. Products that move less than a MiB, or that the time limit left out, are not in the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import minidl as dl
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.kernels_part import PRODUCTS, Alone, distinct_ops
from benchmarks.gpu.timing import milliseconds
from minidl import models
from minidl.devices.cuda import CudaDevice
from minidl.launches.matrix import UNITS
from minidl.launches.product import TILES, Product, Tile

SPLITS = (1, 2, 4, 8, 16, 32, 64)


class Always(Mapping[str, tuple[str, int]]):
    """A tuning that has one tile and one number of splits for every problem, where they fit."""

    def __init__(self, tile: Tile, splits: int) -> None:
        self.choice = tile.name, splits

    def __getitem__(self, key: str) -> tuple[str, int]:
        return self.choice

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1


def tune(
    device: Any,
    network: dl.Network,
    batch: int,
    precision: str,
    deadline: Deadline,
    repeats: int = 10,
) -> dict[str, tuple[str, int]]:
    """The fastest measured tile and splits of each product, by the problem's key."""
    best: dict[str, tuple[float, str, int]] = {}
    tiles = [tile for tile in TILES if tile.unit == UNITS[precision]]
    for tile in tiles:
        for splits in SPLITS:
            for op in distinct_ops(network, batch, precision, Always(tile, splits)):
                if op.function.__name__ not in PRODUCTS or deadline.passed:
                    continue
                product: Product = getattr(op.attributes["products"], op.phase)
                if (product.tile, product.splits) != (tile, splits):
                    continue  # it did not fit; the model chose
                alone = Alone(device, op, drawn=False)
                alone.run()
                found = milliseconds(device, alone.run, repeats), tile.name, splits
                key = product.problem.key
                best[key] = min(best.get(key, found), found)
    return {key: (name, splits) for key, (_, name, splits) in sorted(best.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(models.MODELS), default="vgg16")
    parser.add_argument("-b", "--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=list(UNITS), default="bf16")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=500, help="seconds")
    options = parser.parse_args()
    network = models.MODELS[options.model]()
    deadline = Deadline(options.limit)
    found = tune(CudaDevice(), network, options.batch_size, options.precision, deadline)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} products: {options.out}")


if __name__ == "__main__":
    main()
