"""Regenerate every computed table and image of the documentation: `python -m docs.make`.

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; tests/docs compares all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import minidl as dl
from docs import commands, measured, names
from docs.rows import Cells, Rows, table
from minidl import models
from minidl.cards import CARDS
from minidl.compiler.buffers import Sharing, gradients_over_data
from minidl.compiler.lower import lower_training
from minidl.compiler.modes import MODES, Mode, switches
from minidl.compiler.place import Block, max_load
from minidl.compiler.planner import make_plan
from minidl.devices.known import target_of
from minidl.fitting import largest_fitting
from minidl.ir import StepGraph, mib, parse_size
from minidl.ir.card import Card
from minidl.keywords import settings_text
from minidl.options import Options
from minidl.placed.graph import Subject
from minidl.report.svg import plan_svg

ROOT = Path(__file__).parent.parent
OPTIMIZER = dl.SGD(lr=0.01, momentum=0.9)
ON_CUDA = Options(device="cuda")
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


@cache
def graph(model: str, batch: int) -> StepGraph:
    """The step for cuda in float32, before any rewrite."""
    how = dl.CrossEntropy(), OPTIMIZER, batch, ON_CUDA, target_of(ON_CUDA)
    return lower_training(models.MODELS[model](), *how)


@cache
def size(model: str, batch: int, mode: Mode) -> int:
    """Arena bytes in a mode that need not be a published one."""
    found = MODES.setdefault(mode.name, mode)
    subject = Subject(model, batch, (224, 224, 3))
    try:
        return make_plan(
            graph(model, batch), subject, replace(ON_CUDA, memory=mode.name)
        ).arena_bytes
    finally:
        if found is mode and mode.name not in PUBLISHED:
            del MODES[mode.name]


PUBLISHED = tuple(MODES)


def planned(model: str, batch: int, **how: Any) -> dl.Plan:
    net = models.MODELS[model]()
    return dl.plan(net, batch, optimizer=OPTIMIZER, device="cuda", **how)


@cache
def bytes_of(model: str, batch: int, **how: Any) -> int:
    return planned(model, batch, **how).arena_bytes


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


def fits_row(memory: str, model: str) -> Cells:
    ways: list[dict[str, Any]] = [{"memory": mode} for mode in PUBLISHED]
    ways.append({"recompute": 0.01})
    limit = parse_size(memory)
    # as Plan.largest_batch, but what a batch needs is planned once for all memories
    largest = [largest_fitting(lambda b, h=how: bytes_of(model, b, **h), limit, 64) for how in ways]
    return (f"{model}, {memory}", *map(str, largest))


# The largest batch of VGG-16 and ResNet-50 in some memories
FITS = Rows(
    ("", *(f"`{m}`" for m in PUBLISHED), "1 % more work"),
    [
        partial(fits_row, memory, model)
        for memory in ("8GiB", "12GiB", "24GiB")
        for model in ("vgg16", "resnet50")
    ],
)


def fujitsu() -> str:
    """What makes up `fujitsu2016`, and the same with every weight gradient kept."""
    fujitsu2016 = MODES["fujitsu2016"]
    kept = replace(fujitsu2016, name="kept", share=weight_gradients_kept)
    rows = []
    for model, batch, reference in (("vgg16", 128, 9025), ("alexnet", 256, 1418)):
        sizes = [size(model, batch, mode) for mode in (fujitsu2016, kept)]
        numbers = (*map(mib, sizes), *_masks(model, batch), _alone(model, batch), reference)
        masks = sum(numbers[2:4])
        cells = (*numbers[:-1], numbers[1] - masks - numbers[4], numbers[-1])
        rows.append((f"{model} b{batch}", *(f"{n:,.1f}" for n in cells)))
    head = (
        "", "as built", "all dW kept", "argmax", "signs at the peak", "dX beside X",
        "kept, less these", "reference",
    )  # fmt: skip
    return table(head, rows)


def weight_gradients_kept(graph: StepGraph) -> Sharing:
    """`fujitsu2016`, but with bytes of its own for each weight gradient."""
    sharing = gradients_over_data(graph)
    for buffer in sharing.buffers():
        buffer.kept |= any(t.kind == "weight_gradient" for t in buffer.members)
    return sharing


def _rewritten(model: str, batch: int) -> StepGraph:
    found = graph(model, batch)
    for rewrite in MODES["fujitsu2016"].passes:
        found = rewrite(found)
    return found


def _masks(model: str, batch: int) -> tuple[float, float]:
    """MiB of the argmaxes, and of the bytes that come and go once weight gradients are kept."""
    sharing = weight_gradients_kept(_rewritten(model, batch))
    masks = (b.nbytes for b in sharing.buffers() if b.kept and b.members[0].kind == "mask")
    lives = [
        (b.nbytes, [sharing.alive[t] for t in b.members]) for b in sharing.buffers() if not b.kept
    ]
    blocks = [Block(-(-n // 256) * 256, life) for n, (life,) in lives]
    return mib(sum(masks)), mib(max_load(blocks))


def _alone(model: str, batch: int) -> float:
    """MiB of the gradients that could not lie over data."""
    sharing = gradients_over_data(_rewritten(model, batch))
    kinds = ((b, {t.kind for t in b.members}) for b in sharing.buffers())
    return mib(sum(b.nbytes for b, kind in kinds if kind == {"gradient"}))


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


# -- docs/architecture.md ----------------------------------------------------------------------


def tiny_network() -> dl.Sequential:
    return dl.Sequential(
        dl.Input((8, 8, 1)), dl.Conv2d(4, 3, padding=1), dl.ReLU(), dl.MaxPool2d(2),
        dl.Flatten(), dl.Linear(10),
    )  # fmt: skip


def tiny_ops(memory: str) -> str:
    """Every op of one step of a tiny network, in schedule order."""
    plan = dl.plan(tiny_network(), 2, optimizer=OPTIMIZER, device="cuda", memory=memory)
    lines = [f"{'':2} {'phase':8}{'op':58}writes <- reads"]
    for i, op in enumerate(plan.graph.ops):
        reads = ", ".join(t.name for t in op.reads)
        writes = ", ".join(t.name for t in op.writes)
        lines.append(f"{i:2} {op.phase:8}{op.name:58}{writes} <- {reads}")
    return "\n".join(["```", *lines, "```"])


# -- docs/tutorial.md ----------------------------------------------------------------------------


def tutorial_plan(**how: Any) -> dl.Plan:
    net = dl.from_bytes(models.vgg_small(classes=10), (125.3, 122.9, 113.9), (62.5, 61.9, 66.5))
    return dl.plan(net, 128, optimizer=dl.SGD(0.1, 0.9, weight_decay=5e-4), **how)


def shown(*lines: str) -> str:
    return "\n".join(["```text", *lines, "```"])


def tutorial_summary() -> str:
    """Its head, one row, and the totals."""
    lines = str(tutorial_plan().summary()).splitlines()
    row = next(line for line in lines if line.startswith("features.3 "))
    return shown(*lines[:2], "...", row, "...", *lines[-3:])


def tutorial_budget() -> str:
    smaller = tutorial_plan(budget="80MiB")
    again = smaller.recompute_flops / smaller.graph.flops
    batch = tutorial_plan().largest_batch("1GiB")
    return shown(
        f"{mib(smaller.arena_bytes):.1f} MiB, {again:.1%} again", f"batch {batch} fits into 1 GiB"
    )


# -- docs/cards.md -------------------------------------------------------------------------------


def cards_table() -> str:
    """Every card that can be named."""
    head = (
        "`--gpu`", "architecture", "SM", "shared", "L2, MiB", "memory, GiB", "free, GiB", "MHz",
        "float32", "TF32", "bf16", "memory, GB/s", "bus, GB/s",
    )  # fmt: skip
    return table(head, map(_card_row, CARDS))


def _card_row(card: Card) -> list[str]:
    limits, peaks = card.limits, card.peaks
    sizes = card.memory / 2**30, card.free / 2**30
    return [
        f"`{card.name}`",
        f"{card.architecture}",
        f"{card.multiprocessors}",
        f"{limits.shared // 1024}, {limits.shared_of_a_block // 1024}",
        f"{card.l2 >> 20}",
        *(f"{size:.1f}" for size in sizes),
        f"{card.clock / 1e6:,.0f}",
        *(f"{peak / 1e12:,.1f}" for peak in (peaks.simt, peaks.tf32, peaks.bf16)),
        f"{card.bandwidth / 1e9:,.0f}",
        f"{card.pcie / 1e9:.1f}",
    ]


def card_sources() -> str:
    """Where each card's numbers are from."""
    rows = []
    for card in CARDS:
        links = (f"[{i}]({link})" for i, link in enumerate(card.sources, start=1))
        rows.append(f"- {card.title}: {', '.join(links)}")
    return "\n".join(rows)


# -- putting it in place ------------------------------------------------------------------------

TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "memory"): MEMORY,
    ("docs/memory.md", "ablation"): ABLATION,
    ("docs/memory.md", "lower"): LOWER,
    ("docs/memory.md", "fits"): FITS,
    ("docs/memory.md", "scratch tensors"): SCRATCH,
    ("docs/memory.md", "scratch"): scratch,
    ("docs/decisions/0004-fujitsu2016-as-built.md", "fujitsu"): fujitsu,
    ("docs/architecture.md", "naive ops"): lambda: tiny_ops("naive"),
    ("docs/architecture.md", "arena ops"): lambda: tiny_ops("arena"),
    ("docs/tutorial.md", "plan"): lambda: shown(*tutorial_plan().table().splitlines()),
    ("docs/tutorial.md", "summary"): tutorial_summary,
    ("docs/tutorial.md", "budget"): tutorial_budget,
    ("docs/cards.md", "cards"): cards_table,
    ("docs/cards.md", "card sources"): card_sources,
    **commands.TABLES,
    **names.TABLES,
    **measured.TABLES,
}


def figure(memory: str) -> str:
    net = models.MODELS["vgg16"]()
    return plan_svg(dl.plan(net, 128, optimizer=OPTIMIZER, device="cuda", memory=memory))


def keywords() -> str:
    """The module of keywords, its last lines made anew."""
    text = (ROOT / "minidl/keywords.py").read_text(encoding="utf-8")
    mark = 'each function\'s own."""\n\n'
    return text[: text.index(mark)] + mark + settings_text(Options)


FIGURES: dict[str, Callable[[], str]] = {
    "docs/images/vgg16_arena.svg": lambda: figure("arena"),
    "docs/images/vgg16_naive.svg": lambda: figure("naive"),
    "minidl/keywords.py": keywords,
}
"""Images, and a module whose lists a class has."""


def section(text: str, name: str) -> str:
    """What stands between the marks of `name`."""
    found = re.findall(f"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{len(found)} sections {name!r} instead of one")
    return str(found[0]).rstrip("\n")


def main() -> None:
    for (file, name), compute in TABLES.items():
        path = ROOT / file
        text = path.read_text(encoding="utf-8")
        section(text, name)
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        head, _, rest = text.partition(begin)
        tail = rest.partition(end)[2]
        path.write_text(f"{head}{begin}{compute()}\n{end}{tail}", "utf-8")
    for file, draw in FIGURES.items():
        (ROOT / file).write_text(draw(), encoding="utf-8")
    print(f"{len(TABLES)} tables and {len(FIGURES)} files")


if __name__ == "__main__":
    main()
