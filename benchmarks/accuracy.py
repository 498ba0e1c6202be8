"""What the runs of `benchmarks.cifar10_cpu` come to: a summary, and a section of the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

Row = dict[str, Any]
ENGINES = ("minidl", "PyTorch")

TITLE = "## Accuracy on the CPU device"
HEAD = (
    "`{path}`, made by `python -m benchmarks.cifar10_cpu`: minidl's CPU device and PyTorch {torch} "
    "trained on CIFAR-10, for each seed from the same first weights on the same batches; accuracy "
    "on all {tests:,} test images, and minidl's less PyTorch's in points. The trainings are "
    "short, to compare the engines, not to reach what the networks can. Two runs part as soon as "
    "sums are rounded differently: a difference within the spread over the seeds does not tell "
    "them apart."
)
TRAINED = (
    "- `{model}` at {side}x{side}: {images:,} images, epochs: {epochs}, batch {batch}, SGD "
    "with momentum {momentum:g}, weight decay {weight_decay:g} and a one-cycle rate up to "
    "{lr:g}{dropout}"
)
COLUMNS = ("model", "engine", "mean", "lowest", "highest", "by seed")


def summary(rows: Sequence[Row]) -> list[Row]:
    """Accuracy by model and engine: mean, least and most; and by how much minidl's is higher, in
    the mean and from the same start."""
    found: list[Row] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        reached = by_engine(rows, model)
        for name, by_seed in reached.items():
            values = list(by_seed.values())
            if values:
                spread = {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}
                found.append({"model": model, "engine": name, "seeds": len(values)} | spread)
        ours, theirs = reached["minidl"], reached["PyTorch"]
        apart = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        if apart:
            mean = {"mean_difference": float(np.mean(apart)), "differences": apart}
            found.append({"model": model, "engine": "minidl - PyTorch", "seeds": len(apart)} | mean)
    return found


def by_engine(rows: Sequence[Row], model: str) -> dict[str, dict[int, float]]:
    """A model's accuracies by engine and seed."""
    mine = [row for row in rows if row["model"] == model]
    return {
        name: {row["seed"]: row["test_accuracy"] for row in mine if row["engine"] == name}
        for name in ENGINES
    }


def section(results: Path) -> str:
    """The newest runs in `results` as Markdown; nothing where there are none."""
    found = sorted(results.glob("cpu/*/cifar10.json"), key=lambda path: path.parent.name)
    if not found:
        return ""
    data = json.loads(found[-1].read_text(encoding="utf-8"))
    rows, path = data["rows"], found[-1].relative_to(results).as_posix()
    head = HEAD.format(path=path, torch=rows[0]["torch"], tests=rows[0]["test_images"])
    recipes = {row["model"]: row["recipe"] for row in rows}.values()
    trained = [fill(_trained(recipe), 100, subsequent_indent="  ") for recipe in recipes]
    agreed = [f"- {_agreed(row)}" for row in data["agreement"]]
    lines = [TITLE, "", fill(head, 100), "", *trained, "", *_table(data["summary"], rows)]
    return "\n".join([*lines, "", *agreed]).rstrip() + "\n"


def _trained(recipe: Row) -> str:
    share = recipe["dropout"]
    dropout = (
        "" if share is None else f", dropout {share:g} from random numbers of each engine's own"
    )
    return TRAINED.format(**recipe | {"dropout": dropout})


def _table(summed: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    lines = [COLUMNS, ("---",) * 2 + ("---:",) * (len(COLUMNS) - 2)]
    for row in summed:
        named = row["model"], row["engine"]
        if "differences" in row:
            each = ", ".join(f"{100 * d:+.2f}" for d in row["differences"])
            lines.append((*named, f"{100 * row['mean_difference']:+.2f}", "", "", each))
            continue
        reached = by_engine(rows, row["model"])[row["engine"]]
        each = ", ".join(f"{100 * reached[seed]:.2f}" for seed in sorted(reached))
        spread = (f"{100 * row[key]:.2f} %" for key in ("mean", "min", "max"))
        lines.append((*named, *spread, each))
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _agreed(row: Row) -> str:
    losses = row["losses"]["minidl"]
    return (
        f"{row['model']} in {row['precision']}, without dropout: the losses of the first "
        f"{len(losses)} steps differ by {row['largest_difference']:.1e} at most."
    )
