"""Bytes that the products of a step read from memory, by the order of their tiles.

    python -m benchmarks.raster [--write FILE]

A model of the L2 cache, without a GPU: blocks run in waves, as many as the multiprocessors hold one
each. Blocks of a wave that need the same rows of an operand read them together, once; between
waves the cache keeps what was used last, as much as it holds. Counted are two orders: down the
rows of the result, one column of tiles after the other, and the order that the launch chooses:
`Raster` in kernels/gemm.cuh. Splits and groups come one after the other in both.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import minidl as dl
from benchmarks.csv_tables import write_csv
from minidl import models
from minidl.cards import named
from minidl.ir import Op
from minidl.ir.card import Card
from minidl.ops.cuda.bands import band_of
from minidl.ops.cuda.product import Product

NETWORKS = ((models.alexnet, 128), (models.vgg16, 64), (models.resnet50, 64))
CARDS = ("rtx3060", "rtx4090", "a100", "h100")
PHASES = ("forward", "dgrad", "wgrad")

Tile = tuple[int, int]
"""Of m and of n."""
COLUMNS = ("network", "batch", "card", "pass", "by columns MB", "chosen MB", "chosen / by columns")


def by_bands(down: int, across: int, band: int) -> Iterator[Tile]:
    """In bands of some tiles down, each by columns."""
    for first in range(0, down, band):
        rows = range(first, min(down, first + band))
        yield from ((m, n) for n in range(across) for m in rows)


def read(tiles: Iterable[Tile], sizes: tuple[float, float], wave: int, cache: int) -> float:
    """Bytes read from memory; `sizes`: of what one tile of m, and one of n, needs."""
    total, held, kept = 0.0, 0.0, OrderedDict[tuple[str, int], float]()
    left = iter(tiles)
    while now := list(itertools.islice(left, wave)):
        needed = dict.fromkeys(key for m, n in now for key in (("m", m), ("n", n)))
        for key in needed:
            size = 0.0 if key in kept else sizes[key[0] == "n"]
            total, held = total + size, held + size
            kept[key] = kept.pop(key, size)
        while held > cache:
            held -= kept.popitem(last=False)[1]
    return total


def product_of(op: Op) -> tuple[str, Product] | None:
    """The pass and the product of an op that is one."""
    phase, products = op.phase, op.attributes.get("products")
    return (phase, getattr(products, phase)) if products and phase in PHASES else None


def traffic(op: Op, product: Product, card: Card) -> tuple[float, float]:
    """Of one product in both orders. A tile of wgrad's n is some channels of x at any tap."""
    a, b, *_ = op.original.reads
    down, across, parts = product.down, product.across, product.parts
    channels = b.shape[-1] / product.problem.groups
    share = min(1.0, product.tile.n / channels) if op.phase == "wgrad" else 1 / across
    sizes = a.nbytes / down / parts, b.nbytes * share / parts
    band = band_of(down, across, (a.nbytes // parts, b.nbytes // parts), card.l2)
    columns, chosen = (
        parts * read(by_bands(down, across, size), sizes, card.multiprocessors, card.l2)
        for size in (down, band)
    )
    return columns, chosen


def rows() -> Iterator[dict[str, str]]:
    """Of each network, card and pass."""
    for build, batch in NETWORKS:
        for name in CARDS:
            card = named(name)
            plan = dl.plan(build(), batch, device="cuda", precision="bf16", gpu=name)
            total = {phase: [0.0, 0.0] for phase in PHASES}
            for op in plan.graph.ops:
                if found := product_of(op):
                    both = traffic(op, found[1], card)
                    total[found[0]] = [x + y for x, y in zip(total[found[0]], both, strict=True)]
            for phase, (columns, chosen) in total.items():
                numbers = f"{columns / 1e6:.0f}", f"{chosen / 1e6:.0f}", f"{chosen / columns:.2f}"
                yield dict(
                    zip(COLUMNS, (build.__name__, str(batch), name, phase, *numbers), strict=True)
                )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="a table")
    options = parser.parse_args(arguments)
    found = []
    for row in rows():
        print("  ".join(f"{value:>14}" for value in row.values()), flush=True)
        found.append(row)
    if options.write:
        write_csv(options.write, COLUMNS, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
