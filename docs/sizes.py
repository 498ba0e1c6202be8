"""Tables of bytes: README and docs/memory.md."""

from __future__ import annotations

from functools import partial

import minidl as dl
from docs.plans import OPTIMIZER, PUBLISHED, bytes_of, planned
from docs.rows import Cells, Rows, table
from minidl import models
from minidl.compiler.modes import switches
from minidl.ir import mib

SIZES = (
    ("alexnet", 128),
    ("alexnet", 256),
    ("vgg16", 64),
    ("vgg16", 128),
    ("vgg16_bn", 64),
    ("resnet50", 64),
    ("googlenet", 64),
    ("densenet121", 64),
)


def memory_row(model: str, batch: int) -> Cells:
    sizes = planned(model, batch, recompute=0.01).modes.values()
    return (model, str(batch), *(f"{mib(n):,.0f}" for n in sizes))


# README: what `dl.plan` says in every mode, and with 1 % more work
MEMORY = Rows(
    ("model", "batch", *(f"`{m}`" for m in PUBLISHED), "1 % more work"),
    [partial(memory_row, *size) for size in SIZES],
)


# -- docs/memory.md ----------------------------------------------------------------------------

ABLATED = (("vgg16", 128), ("vgg16", 8), ("resnet50", 64), ("densenet121", 32))


def ablation_row(name: str, *passes: str) -> Cells:
    cells = [name]
    for model, batch in ABLATED:
        size = bytes_of(model, batch, disable_passes=passes)
        more = size - bytes_of(model, batch, disable_passes=())
        cells += [f"{mib(size):,.1f}", f"{mib(more):+,.1f}"]
    return cells


# `arena` with one pass left out
ABLATION = Rows(
    ("variant", *(cell for model, batch in ABLATED for cell in (f"{model} b{batch}", "more"))),
    [
        partial(ablation_row, "`arena`"),
        *(partial(ablation_row, f"without `{name}`", name) for name in switches()),
        partial(
            ablation_row,
            "without `fuse_updates` and `hoist_updates`",
            "fuse_updates",
            "hoist_updates",
        ),
    ],
)


def lower_row(share: float | None, slices: int) -> Cells:
    cells = []
    for model, batch in (("vgg16", 128), ("resnet50", 64)):
        plan = planned(model, batch, recompute=share, slices=slices)
        done = plan.recompute_flops / (plan.graph.flops - plan.recompute_flops)
        cells += [f"{mib(plan.arena_bytes):,.0f}", f"{100 * done:.2f} %"]
    allowed = "cheap ops" if share is None else f"{100 * share:g} %"
    return (allowed, str(slices), *cells)


# VGG-16 and ResNet-50 with recomputation and batch slicing
LOWER = Rows(
    ("may run again", "slices", "vgg16 b128", "ran again", "resnet50 b64", "ran again"),
    [
        partial(lower_row, share, slices)
        for share in (None, 0.01, 0.03, 0.1, 0.3)
        for slices in (1, 4)
    ],
)


def scratch_row(model: str, batch: int) -> Cells:
    graph = planned(model, batch).graph
    tensors = {t for op in graph.ops for t in op.writes if t.kind == "scratch"}
    return (f"{model} b{batch}", str(len(tensors)), f"{max(t.nbytes for t in tensors):,}")


# The scratch of plans for cuda
SCRATCH = Rows(
    ("cuda", "scratch tensors", "bytes of the largest"),
    [partial(scratch_row, *size) for size in (("vgg16", 128), ("resnet50", 64))],
)


def scratch() -> str:
    """`arena` with and without the CPU device's workspace."""
    rows = []
    for model, batch in (("alexnet", 128),):
        net = models.MODELS[model]()
        cuda, cpu = (
            dl.plan(net, batch, optimizer=OPTIMIZER, device=device).arena_bytes
            for device in ("cuda", "cpu")
        )
        rows.append((f"{model} b{batch}", *(f"{mib(n):,.1f}" for n in (cuda, cpu, cpu - cuda))))
    return table(("", "cuda", "cpu", "more"), rows)
