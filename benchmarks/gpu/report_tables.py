"""The tables of docs/performance.md. Every line says on which card, at which commit, with which
driver and NVRTC it was measured; the lines of a case on several cards are side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.gpu.predicted import verdicts
from benchmarks.gpu.rows import FAULTS, PASSED, Row

MOST = 30
"""Faults, and slow ops, that are listed; the rows have all."""
WHERE = ["card", "commit", "driver", "NVRTC"]
Lines = dict[tuple[str, str], dict[str, Row]]
"""By what is measured and card: its rows by the end of their case's name."""


def markdown(columns: list[str], rows: Iterable[list[Any]]) -> str:
    """A Markdown table; None is a dash."""

    def line(cells: list[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)]) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "/")


def where(row: Row) -> list[Any]:
    facts = row["facts"]
    commit = str(facts.get("commit", "unknown"))
    short = commit[:10] + ("+" if commit.endswith("+") else "")
    return [facts["card"], short, facts.get("driver"), facts.get("NVRTC")]


def faults(rows: list[Row]) -> str:
    found = [row for row in rows if row["result"] in FAULTS]
    if not found:
        return ""
    lines = [[row["case"], row["result"], row.get("why"), *where(row)] for row in found[:MOST]]
    more = f"\n{len(found) - MOST} more are in the rows.\n" if len(found) > MOST else ""
    table = markdown(["case", "result", "why", *WHERE], lines)
    return f"\nFaults, {len(found)}:\n\n{table}{more}"


def by_end(rows: list[Row], *ends: str) -> Lines:
    """Rows of cases that are named `what` and one of `ends`."""
    found: Lines = {}
    for row in rows:
        end = next((end for end in ends if row["case"].endswith(f" {end}")), None)
        if end is not None and row["result"] == PASSED:
            what = row["case"].removesuffix(f" {end}"), row["facts"]["card"]
            found.setdefault(what, {})[end] = row
    return found


def _tests(rows: list[Row]) -> str:
    """A line a phase and card."""
    of: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        of.setdefault((row["phase"], row["facts"]["card"]), []).append(row)
    lines = [
        [
            phase,
            *(sum(row["result"] == result for row in mine) for result in (PASSED, "left out")),
            sum(row["result"] in FAULTS for row in mine),
            *where(mine[-1]),
        ]
        for (phase, _), mine in of.items()
    ]
    return markdown(["phase", "passed", "left out", "faults", *WHERE], lines)


def _train(rows: list[Row]) -> str:
    engines = ("eager", "compiled", "reduce-overhead")
    ends = ("step", *(f"beside {engine}" for engine in engines))
    lines = []
    for (what, _), found in by_end(rows, *ends).items():
        step = found.get("step", {})
        beside = [found.get(end, {}) for end in ends[1:]]
        ratios = [row["engine_ms"] / row["ms"] for row in beside if row]
        lines.append(
            [
                *(what, step.get("predicted_ms"), step.get("ms"), step.get("naive_ms")),
                *(row.get("engine_ms") for row in beside),
                min(ratios) if ratios else None,
                step.get("arena_mib"),
                min((r["engine_peak_mib"] for r in beside if "engine_peak_mib" in r), default=None),
                *where(next(iter(found.values()))),
            ]
        )
    columns = [
        "step",
        "predicted ms",
        "arena ms",
        "naive ms",
        *(f"PyTorch {engine} ms" for engine in engines),
    ]
    columns += ["fastest PyTorch / arena", "arena MiB", "least PyTorch peak MiB", *WHERE]
    return markdown(columns, lines) if lines else ""


def _kernels(rows: list[Row]) -> str:
    """A line a network, precision and card; then the ops that take longest beyond their floor."""
    timed = [row for row in rows if "ms" in row]
    of: dict[tuple[str, str], list[Row]] = {}
    for row in timed:
        of.setdefault((row["case"].removesuffix(f" {row['op']}"), row["facts"]["card"]), []).append(
            row
        )
    errors: dict[str, float] = {
        f"{row['case'].removesuffix(' float64')} {row['facts']['card']}": row["error"]
        for row in rows
        if "error" in row
    }
    lines = []
    for (what, card), mine in of.items():
        beside = [row for row in mine if "engine_ms" in row]
        ours, theirs = (sum(row[name] for row in beside) for name in ("ms", "engine_ms"))
        known = [errors[key] for row in mine if (key := f"{row['case']} {card}") in errors]
        lines.append(
            [
                *(what, len(mine), sum(row["ms"] for row in mine)),
                sum(row["floor_ms"] for row in mine if "floor_ms" in row) or None,
                *(len(beside), ours, theirs or None, theirs / ours if theirs else None),
                *(max(known, default=None), *where(mine[-1])),
            ]
        )
    if not lines:
        return ""
    columns = ["ops alone", "ops", "ms", "floor ms", "products", "ms", "PyTorch ms"]
    columns += ["PyTorch / minidl", "worst error", *WHERE]
    slow = sorted(timed, key=lambda row: row.get("floor_ms", 0) - row["ms"])[:MOST]
    worst = [
        [
            *(row["case"], row["ms"], row.get("predicted_ms"), row.get("floor_ms")),
            row.get("engine_ms"),
            *(row["flops"] / row["ms"] / 1e9, row["bytes"] / row["ms"] / 1e6, *where(row)),
        ]
        for row in slow
    ]
    head = ["op", "ms", "predicted ms", "floor ms", "PyTorch ms", "TFLOP/s", "GB/s", *WHERE]
    text = "\nWhat takes longest beyond its floor:\n\n"
    return markdown([*columns], lines) + text + markdown(head, worst)


def _predicted(rows: list[Row]) -> str:
    """Steps and ops as they were predicted and measured; then what that says of each constant."""
    timed = [row for row in rows if "predicted_ms" in row and row["result"] == PASSED]
    of: dict[tuple[str, str], list[Row]] = {}
    for row in timed:
        name = row["case"].removesuffix(f" {row['op']}") if "op" in row else row["case"]
        of.setdefault((name, row["facts"]["card"]), []).append(row)
    lines = []
    for (what, _), mine in of.items():
        own, measured = (sum(row[name] for row in mine) for name in ("predicted_ms", "ms"))
        lines.append([what, len(mine), own, measured, measured / own, *where(mine[-1])])
    if not lines:
        return ""
    columns = [
        "predicted and measured",
        "rows",
        "predicted ms",
        "measured ms",
        "measured / predicted",
    ]
    return markdown([*columns, *WHERE], lines) + _constants(timed)


def _constants(rows: list[Row]) -> str:
    """A line a constant and card: what it is, and what the ops that it bounds say it should be."""
    lines = []
    for card in dict.fromkeys(row["facts"]["card"] for row in rows):
        mine = [row for row in rows if row["facts"]["card"] == card]
        lines += [
            [v.constant, v.used, v.says, v.ops, v.factor, v.words, *where(mine[-1])]
            for v in verdicts(mine)
        ]
    if not lines:
        return ""
    columns = [
        "constant",
        "the model has",
        "measured says",
        "ops",
        "measured / predicted",
        "verdict",
    ]
    return "\nWhich constant is wrong:\n\n" + markdown([*columns, *WHERE], lines)


def _memory(rows: list[Row]) -> str:
    ends = ("arena", "peak of PyTorch", "largest batch of PyTorch", "largest batch")
    lines = []
    for (what, _), found in by_end(rows, *ends).items():
        row: Row = {}
        for each in found.values():
            row |= each
        ours, theirs = row.get("predicted"), row.get("engine_peak")
        lines.append(
            [
                *(what, *(_mib(row.get(key)) for key in ("predicted", "arena", "device_says"))),
                *(row.get("during_steps"), _mib(theirs)),
                *(theirs / ours if ours and theirs else None, row.get("largest")),
                *(row.get("engine_largest"), row["limit"] / 2**30 if "limit" in row else None),
                *where(row),
            ]
        )
    columns = ["step", "predicted MiB", "arena MiB", "device says MiB", "taken during steps"]
    columns += ["PyTorch peak MiB", "PyTorch / minidl", "largest batch", "PyTorch's", "in GiB"]
    return markdown([*columns, *WHERE], lines) if lines else ""


def _mib(nbytes: int | None) -> str | None:
    return None if nbytes is None else f"{nbytes / 2**20:,.1f}"


def _cifar10(rows: list[Row]) -> str:
    """The training of each card as far as it went, and what the modes agree in."""
    last: dict[str, Row] = {}
    for row in rows:
        if "epoch" in row and row["epoch"] >= last.get(row["facts"]["card"], row)["epoch"]:
            last[row["facts"]["card"]] = row
    same = {
        row["facts"]["card"]: f"{row['steps']} losses"
        for row in rows
        if "step_ms" in row and row["result"] == PASSED
    }
    lines = [
        [
            f"{row['epoch']} of {row['planned']}",
            *(f"{100 * row['top1']:.2f} %", f"{row['s']:.0f}", row["images_per_s"]),
            *(same.get(card), *where(row)),
        ]
        for card, row in last.items()
    ]
    columns = ["epoch", "test accuracy", "s", "images / s", "arena equals naive", *WHERE]
    return markdown(columns, lines) if lines else ""


def _tune(rows: list[Row]) -> str:
    """How much the measured tiles gain over the model's, by card."""
    of: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("model_ms") and row["result"] == PASSED:
            of.setdefault(row["facts"]["card"], []).append(row)
    lines = []
    for mine in of.values():
        gains = [row["model_ms"] / row["ms"] for row in mine]
        right = sum(row["best"] == row["model"] for row in mine)
        lines.append([len(mine), right, statistics.median(gains), max(gains), *where(mine[-1])])
    columns = ["products", "model's tile is fastest", "median gain", "largest gain", *WHERE]
    return markdown(columns, lines) if lines else ""


SECTIONS: tuple[tuple[str, tuple[str, ...], Callable[[list[Row]], str]], ...] = (
    ("Correctness on the device", ("first-contact", "sanitizer"), _tests),
    ("Training steps", ("first-contact", "train"), _train),
    ("Kernels", ("kernels",), _kernels),
    ("Predicted times", ("train", "kernels"), _predicted),
    ("Memory", ("memory",), _memory),
    ("Tiles", ("tune",), _tune),
    ("Training on CIFAR-10", ("cifar10",), _cifar10),
)
"""Title, parts whose rows it is made of, and its table."""
