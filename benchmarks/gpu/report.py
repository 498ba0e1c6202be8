"""docs/performance.md from the newest results of each GPU: `python -m benchmarks.gpu.report`.

Results lie in benchmarks/results/<gpu>/<date>/<part>.json. What has no result is said to be not
measured; nothing is estimated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import accuracy

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
PARTS = ("tests", "kernels", "train", "memory", "cifar10")
TITLES = {
    "tests": "Correctness on the device",
    "kernels": "Kernels",
    "train": "Training steps",
    "memory": "Memory",
    "cifar10": "Training on CIFAR-10",
}
Row = dict[str, Any]

HEAD = """# Performance on a GPU

Made by `python -m benchmarks.gpu.report` from the newest files under `benchmarks/results`; nothing
here is estimated. `python -m benchmarks.gpu --out benchmarks/results/<gpu>/<date>` measures on a
machine with an NVIDIA GPU of compute capability 8.0 or newer; put the files there and run the
report again. `python -m benchmarks.gpu.cifar10` trains VGG-16 with batch normalization on CIFAR-10.
`python -m benchmarks.gpu.tune` measures tiles for one network and writes a tuning
file, which `--tuning` takes. Times on the CPU device are in
[benchmarks/results/cpu](../benchmarks/results/cpu).
"""


def newest(results: Path, part: str) -> Path | None:
    """The newest file of a part, whatever the GPU; those of CPUs lie in results/cpu."""
    on_gpus = (path for path in results.glob(f"*/*/{part}.json") if path.parts[-3] != "cpu")
    found = sorted(on_gpus, key=lambda path: path.parent.name)
    return found[-1] if found else None


def page(results: Path = RESULTS) -> str:
    sections = [HEAD]
    for part in PARTS:
        path = newest(results, part)
        sections.append(f"## {TITLES[part]}\n")
        if path is None:
            sections.append("Not measured yet: no GPU was at hand.\n")
            continue
        data = json.loads(path.read_text(encoding="utf-8"))
        sections.append(_about(data["about"], path.relative_to(results)))
        sections.append(TABLES[part](data["rows"]))
    return "\n".join(filter(None, [*sections, accuracy.section(results)]))


def _about(about: Row, path: Path) -> str:
    gpu = ", ".join(f"{key} {value}" for key, value in about["gpu"].items())
    versions = ", ".join(f"{name} {about[name]}" for name in ("cupy", "torch") if about.get(name))
    changed = "+" if about["commit"].endswith("+") else ""
    return f"`{path}`: commit {about['commit'][:12]}{changed}, {gpu}; {versions}.\n"


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; None is a dash."""

    def line(cells: list[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)]) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _tests(rows: list[Row]) -> str:
    passed = sum(row["result"] == "passed" for row in rows)
    other = [[row["check"], row["result"]] for row in rows if row["result"] != "passed"]
    text = f"{passed} of {len(rows)} checks passed.\n"
    return text + ("\n" + table(["check", "result"], other) if other else "")


def _kernels(rows: list[Row]) -> str:
    columns = ["model", "op", "precision", "ms", "TFLOP/s", "of ceiling", "GB/s", "of copy"]
    columns += ["PyTorch ms", "PyTorch / minidl", "error", "PyTorch's error"]
    copy = next((row["gbytes_per_s"] for row in rows if "copy" in row), None)
    body = []
    for row in rows:
        if "op" not in row:
            continue
        theirs, moved = row.get("torch_ms"), row.get("gbytes_per_s")
        body.append(
            [
                *(f"{row['model']} b{row['batch']}", row["op"], row["precision"], row["ms"]),
                *(row.get("tflops"), row.get("share_of_ceiling"), moved),
                *(moved / copy if moved and copy else None, theirs),
                *(theirs / row["ms"] if theirs else None, row.get("error")),
                row.get("torch_error"),
            ]
        )
    return table(columns, body)


def _train(rows: list[Row]) -> str:
    engines = list(dict.fromkeys(name for row in rows for name in row.get("engines", ())))
    theirs = [name for name in engines if name not in ("arena", "naive")]
    columns = ["model", "precision", *(f"{name} ms" for name in engines), "fastest PyTorch / arena"]
    body = []
    for row in rows:
        times = {name: t["ms"] for name, t in row.get("engines", {}).items()}
        least = min((times[name] for name in theirs if name in times), default=None)
        ratio = least / times["arena"] if least else None
        name = f"{row['model']} b{row['batch']}"
        body.append([name, row["precision"], *(times.get(e) for e in engines), ratio])
    return table(columns, body)


def _memory(rows: list[Row]) -> str:
    columns = ["model", "precision", "predicted MiB", "device says MiB", "taken during steps"]
    columns += ["PyTorch peak MiB", "minidl / PyTorch", "largest batch", "PyTorch's", "limit GiB"]
    body = []
    for row in rows:
        ours, theirs = row.get("predicted_bytes"), row.get("torch_peak_bytes")
        body.append(
            [
                *(f"{row['model']} b{row['batch']}", row["precision"], _mib(ours)),
                *(_mib(row.get("device_says_bytes")), row.get("taken_during_steps_bytes")),
                *(_mib(theirs), ours / theirs if ours and theirs else None),
                *(row.get("largest_batch"), row.get("torch_largest_batch")),
                row["limit"] / 2**30 if "limit" in row else None,
            ]
        )
    return table(columns, body)


def _mib(nbytes: int | None) -> str | None:
    return None if nbytes is None else f"{nbytes / 2**20:,.1f}"


def _cifar10(rows: list[Row]) -> str:
    columns = ["model", "precision", "epochs", "test accuracy", "s", "arena equals naive"]
    return table(
        columns,
        [
            [
                *(f"{row['model']} b{row['batch']}", row["precision"], row["epochs"]),
                *(f"{100 * row['test_accuracy']:.2f} %", f"{row['seconds']:.0f}"),
                f"{row['steps_compared']} losses" if row["arena_equals_naive"] else "no",
            ]
            for row in rows
        ],
    )


TABLES = {
    "tests": _tests,
    "kernels": _kernels,
    "train": _train,
    "memory": _memory,
    "cifar10": _cifar10,
}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
