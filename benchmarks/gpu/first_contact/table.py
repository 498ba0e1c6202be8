"""What first contact found, as text."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.gpu.names import PRECISIONS
from benchmarks.gpu.rows import Row
from benchmarks.gpu.tables import aligned, number, of_phase, whole


def table(rows: list[Row]) -> str:
    known = [row for row in rows if "case" in row]
    return whole(rows, [section(known) for section in SECTIONS])


def _compile(rows: list[Row]) -> str:
    made = [row for row in of_phase(rows, "compile") if "cached" in row]
    if not made:
        return ""
    longest = max(made, key=lambda row: row["compile_s"])
    cached = sum(row["cached"] for row in made)
    return (
        f"COMPILE {len(made)} kernels, {cached} of them without compiling; "
        f"{sum(row['compile_s'] for row in made):.0f} s of compiling, longest "
        f"{longest['case']} {longest['compile_s']:.1f} s"
    )


def _ops(rows: list[Row]) -> str:
    lines = []
    for precision in PRECISIONS:
        mine = [row for row in of_phase(rows, "ops") if row["case"].endswith(f" {precision}")]
        closest = sorted(mine, key=lambda row: -row["bounds"])[:3]
        near = [f"{row['case']} {row['tensor']} {row['bounds']:.2f}" for row in closest]
        if mine:
            lines.append(
                f"  {precision}: {len(mine)} right; nearest to their bounds: {', '.join(near)}"
            )
    return "\n".join(["OPS against float64", *lines]) if lines else ""


def _modes(rows: list[Row]) -> str:
    modes, pairs = (len(of_phase(rows, phase)) for phase in ("modes", "in place"))
    return f"BIT FOR BIT {modes} memory modes as naive, {pairs} ops in place as apart"


def _ceilings(rows: list[Row]) -> str:
    found: dict[str, float] = {}
    for row in rows:
        found |= row.get("ceilings", {})
    return "CEILINGS " + ", ".join(f"{n} {v:.4g}" for n, v in found.items()) if found else ""


def _steps(rows: list[Row]) -> str:
    """A line a network and precision."""
    by_name = {row["case"]: row for row in of_phase(rows, "steps")}
    lines = []
    for name, row in by_name.items():
        if not name.endswith(" step"):
            continue
        of = name.removesuffix(" step")
        engines = [by_name.get(f"{of} beside {engine}", {}) for engine in ("eager", "compiled")]
        ops = by_name.get(f"{of} ops", {})
        cells = [f"{row['arena_mib']:.0f}", f"{row['bind_s']:.1f}", f"{row['loss']:.3f}"]
        cells += [f"{row['loss_later']:.3f}", f"{row['ms']:.3f}"]
        for engine in engines:
            cells += _beside(engine)
        cells += [number(ops.get("sum_ms")), number(ops.get("floor_ms"))]
        lines.append((of, *cells))
    if not lines:
        return ""
    head = ("STEPS", "arena MiB", "bind s", "loss", "later", "ms", "eager ms", "/ ours")
    return aligned([(*head, "compiled ms", "/ ours", "sum of ops", "floor ms"), *lines])


def _beside(row: Row) -> list[str]:
    """The engine's time, and how often ours, measured in turn with it, fits into it."""
    if not row:
        return ["-", "-"]
    return [f"{row['engine_ms']:.3f}", f"{row['engine_ms'] / row['ms']:.2f}"]


def _exactness(rows: list[Row]) -> str:
    found = [r for r in of_phase(rows, "steps") if "gradients" in r]
    errors = ("logits", "loss", "gradients", "worst")
    lines = [(row["case"], *(f"{row[name]:.1e}" for name in errors), row["of"]) for row in found]
    head = ("AGAINST FLOAT64", *errors, "of")
    return aligned([head, *lines]) if lines else ""


def _worst(rows: list[Row]) -> str:
    """The ops that take longest beyond their floor."""
    lines = []
    for row in of_phase(rows, "steps"):
        for op in row.get("slowest", ()):
            floor = op.get("floor_ms")
            rates = op["flops"] / op["ms"] / 1e9, op["bytes"] / op["ms"] / 1e6
            rate = f"{rates[0]:.1f} TFLOP/s, {rates[1]:.0f} GB/s"
            cells = (f"{op['ms']:.4f}", number(floor), op.get("bound", "-"), rate)
            lines.append((row["case"].removesuffix(" ops"), op["op"], *cells))
    head = ("WORST OPS", "op", "ms", "floor ms", "bound by", "reached")
    return aligned([head, *lines]) if lines else ""


SECTIONS: tuple[Callable[[list[Row]], str], ...] = (
    _compile,
    _ops,
    _modes,
    _ceilings,
    _steps,
    _exactness,
    _worst,
)
