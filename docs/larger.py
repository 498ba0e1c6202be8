"""What fits on a card: the largest batch, and the largest network at one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from minidl.models.alexnet import WIDTHS, alexnet_of
from minidl.models.resnet import resnet_of
from minidl.models.vgg import vgg_of

import minidl as dl
from docs.plans import OPTIMIZER, planned
from docs.rows import Cells, Rows
from minidl.cards import GIB, kept
from minidl.fitting import largest_fitting

MEMORIES = (6, 8, 12, 16, 24)
"""GiB of cards."""

WAYS: dict[str, dict[str, Any]] = {
    "`caffe`": {"memory": "caffe"},
    "`liveness`": {"memory": "liveness"},
    "`fujitsu2016`": {"memory": "fujitsu2016"},
    "`arena`": {"memory": "arena"},
    "5 % more work": {"recompute": 0.05},
}

EIGHTHS = 8
"""Steps of a width that is the published one."""


@dataclass(frozen=True)
class Family:
    """Networks of any depth and width; `batch`: 256, as in VGG's and ResNet's papers, on one card,
    on four or on two."""

    name: str
    batch: int
    deep: Callable[[int], dl.Network]
    """With so many of the convolutions or blocks that repeat."""
    published: int
    """Of those."""
    layers: Callable[[int], int]
    """Layers with weights, from those."""
    wide: Callable[[int], dl.Network]
    """With all widths but the classes that many times an eighth of the published ones."""


def _alexnet(times: int, eighths: int) -> dl.Network:
    """With all convolutions but the first so many times."""
    first, *others = ([width * eighths // EIGHTHS for width in group] for group in WIDTHS)
    return alexnet_of([first, *(group * times for group in others)], 4096 * eighths // EIGHTHS)


def _vgg(each: int, eighths: int) -> dl.Network:
    """With so many convolutions in each of the last three stages."""
    stages = ((64, 2), (128, 2), (256, each), (512, each), (512, each))
    widths = (f"{width * eighths // EIGHTHS} " * count for width, count in stages)
    return vgg_of("M ".join(widths) + "M", 4096 * eighths // EIGHTHS)


FAMILIES = (
    Family(
        "alexnet",
        256,
        lambda times: _alexnet(times, EIGHTHS),
        1,
        lambda times: 4 + 4 * times,
        lambda eighths: _alexnet(1, eighths),
    ),
    Family("vgg", 64, lambda n: _vgg(n, EIGHTHS), 3, lambda n: 7 + 3 * n, lambda n: _vgg(3, n)),
    Family(
        "resnet",
        128,
        lambda blocks: resnet_of((3, 4, blocks, 3)),
        6,
        lambda blocks: 32 + 3 * blocks,
        lambda n: resnet_of((3, 4, 6, 3), 64 * n // EIGHTHS),
    ),
)


@cache
def _known(family: Family, kind: str, way: str) -> dict[int, int]:
    """Arena bytes by size, of the plans made so far: rows of more memory begin with them."""
    return {}


def _largest(family: Family, kind: str, way: str, memory: int) -> int:
    known = _known(family, kind, way)

    def needs(size: int) -> int:
        network, batch = {
            "batch": lambda: (family.deep(family.published), size),
            "layers": lambda: (family.deep(size), family.batch),
            "width": lambda: (family.wide(size), family.batch),
        }[kind]()
        plan = dl.plan(network, batch, optimizer=OPTIMIZER, device="cuda", **WAYS[way])
        known[size] = plan.arena_bytes
        return known[size]

    first = {"batch": family.batch, "layers": family.published, "width": EIGHTHS}[kind]
    return largest_fitting(needs, memory * GIB - kept(memory * GIB), first, known)


def fits_row(kind: str, family: Family, memory: int) -> Cells:
    shown = {"batch": str, "layers": lambda n: str(family.layers(n)), "width": _width}[kind]
    sizes = (_largest(family, kind, way, memory) for way in WAYS)
    batch = "" if kind == "batch" else f" b{family.batch}"
    return (f"{family.name}{batch}, {memory} GiB", *(shown(n) if n else "-" for n in sizes))


def _width(eighths: int) -> str:
    return f"{eighths / EIGHTHS:.3f}"


def _rows(kind: str) -> Rows:
    rows = [partial(fits_row, kind, f, memory) for f in FAMILIES for memory in MEMORIES]
    return Rows(("", *WAYS), rows, short=(0, 1))


CHECKMATE = {"all kept": 164, "Chen, square root": 196, "Chen, greedy": 260}
"""Largest batches of VGG-19 that its authors' instructions print: mlsys20_artifact.md."""


def beside_row() -> Cells:
    ways = {"memory": "liveness"}, {"memory": "arena"}, {"recompute": 1 / 3}
    found = []
    for how in ways:
        plan = planned("vgg19", 200, **how)
        batch = plan.largest_batch(16 * 10**9)
        spent = plan.recipe.at(batch).plan()
        share = spent.recompute_flops / (spent.graph.flops - spent.recompute_flops)
        found.append(f"{batch}, {100 * share:.1f} % work")
    return ("vgg19, 16 GB", *map(str, CHECKMATE.values()), *found)


# Beside Checkmate's baselines
BESIDE = Rows(
    ("", *CHECKMATE, "`liveness`", "`arena`", "at most a forward pass more"),
    [beside_row],
    short=(0,),
)

TABLES = {
    # The largest batch, depth and width of each family on cards of each memory
    **{("docs/memory.md", f"largest {kind}"): _rows(kind) for kind in ("batch", "layers", "width")},
    ("docs/memory.md", "checkmate"): BESIDE,
}
