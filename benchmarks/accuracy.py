"""What the runs of `benchmarks.cifar10_cpu` come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
ENGINES = ("minidl", "PyTorch")


def summary(rows: Sequence[Row]) -> list[Row]:
    """Accuracy by model and engine: mean, least and most; and by how much minidl's is higher, in
    the mean and from the same start."""
    found: list[Row] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        reached = {
            name: {r["seed"]: r["test_accuracy"] for r in rows if pair(r) == (model, name)}
            for name in ENGINES
        }
        for name, by_seed in reached.items():
            if not by_seed:
                continue
            values = list(by_seed.values())
            spread = {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}
            found.append({"model": model, "engine": name, "seeds": len(values)} | spread)
        ours, theirs = reached["minidl"], reached["PyTorch"]
        apart = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        if apart:
            mean = {"mean_difference": float(np.mean(apart)), "differences": apart}
            found.append({"model": model, "engine": "minidl - PyTorch", "seeds": len(apart)} | mean)
    return found


def pair(row: Row) -> tuple[str, str]:
    return row["model"], row["engine"]
