"""Measure the tiles of each matrix product of the networks; the fastest are a tuning file.

`DIR/tuning.json` has the best tile of every problem measured so far, written anew after each;
`dl.compile(..., tuning="tuning.json")` and `--tuning` take those instead of the model's choice. A
tile whose result is not that of the model's tile is never in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks.gpu import compiling
from benchmarks.gpu.alone import Alone, distinct_ops, products
from benchmarks.gpu.kernels import BOUNDS
from benchmarks.gpu.names import DEVICE, PRECISIONS
from benchmarks.gpu.network import Case
from benchmarks.gpu.resident import Held, left_out_if_too_large
from benchmarks.gpu.rows import Row
from benchmarks.gpu.tables import aligned, number, of_phase, ratio, whole
from benchmarks.gpu.worker import Phase, Worker
from minidl.files.atomic import write_atomically
from minidl.ir import Array, Op
from minidl.ops.cuda.matrix import UNITS
from minidl.ops.cuda.product import Problem, Tile

PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.2),
    compiling.phase(f"{__name__}:compile_kernels", most=0.4, least=0.1),
    Phase("tune", f"{__name__}:tune", most=1.0, least=0.5, silence=120, needs=DEVICE),
)
FILE = "tuning.json"
FINALISTS = 3
"""Tiles that are measured again, in turns with the model's."""
Choice = tuple[str, int]
"""A tile's name and the splits of the sum."""


class Always(Mapping[str, Choice]):
    """A tuning that has one tile and one number of splits for every problem, where they fit."""

    def __init__(self, tile: Tile, splits: int) -> None:
        self.choice = tile.name, splits

    def __getitem__(self, key: str) -> Choice:
        return self.choice

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1


@dataclass
class Candidates:
    """What a problem can be computed with: the ops that are it, by tile and splits."""

    problem: Problem
    model: Choice
    """What the model of the time chooses."""
    ops: dict[Choice, list[Op]] = field(default_factory=dict)


def candidates(worker: Worker, case: Case, precision: str) -> dict[str, Candidates]:
    """Of a case's products, by the problem's key, the longest in front."""
    card, least = worker.device.card, worker.machine.LEAST_BYTES
    found: dict[str, Candidates] = {}
    for op, product in products(distinct_ops(case, precision, card, least)):
        choice = product.tile.name, product.splits
        own = found.setdefault(product.problem.key, Candidates(product.problem, choice))
        own.ops.setdefault(choice, []).append(op)
    for tile in (tile for tile in worker.machine.TILES if tile.unit == UNITS[precision]):
        for splits in worker.machine.SPLITS:
            choice, more = (tile.name, splits), dict[str, list[Op]]()
            ops = distinct_ops(case, precision, card, least, Always(tile, splits))
            for op, product in products(ops):
                if (product.tile, product.splits) == (tile, splits):  # else it did not fit
                    more.setdefault(product.problem.key, []).append(op)
            for key in more.keys() & found.keys():
                found[key].ops.setdefault(choice, more[key])
    return dict(sorted(found.items(), key=lambda pair: -_work(pair[1].problem)))


def _work(p: Problem) -> int:
    return p.groups * p.m * p.n * p.k


def compile_kernels(worker: Worker) -> None:
    def source(case: Case, precision: str) -> compiling.Source:
        def ops() -> list[Op]:
            of = candidates(worker, case, precision).values()
            return [op for each in of for ops in each.ops.values() for op in ops]

        return compiling.Source(f"tune {case.name} {precision}", ops)

    cases = worker.machine.CASES
    compiling.compile_all(worker, [source(case, p) for p in PRECISIONS for case in cases])


class Tuner(Held):
    """The cases of this phase, and the file."""

    def measure(self, precision: str, of: Candidates) -> Row:
        """Each tile shortly, then the fastest and the model's in turns."""
        row, times, wrong = self.cleared(), dict[Choice, float](), list[str]()
        row["problem"] = of.problem.key
        with left_out_if_too_large():
            samples = self._samples(of.ops[of.model])
            for choice, ops in of.ops.items():
                error = _difference(self._samples(ops), samples)
                if error <= BOUNDS[precision]:
                    alone = [Alone(self.worker.device, op) for op in ops]
                    times[choice] = sum(each.milliseconds(1) for each in alone)
                else:
                    named = f"{_named(choice)} is {error:.2g} away from {_named(of.model)}"
                    wrong.append(named)
            if not times:  # not even the model's agrees with itself
                return row | {"wrong": f"{_named(of.model)} gives no finite numbers"}
            best, ms = self._final(of, times)
        row |= {"tried": len(times), "model": of.model, "best": best}
        row |= {"ms": ms[best], "model_ms": ms.get(of.model)}
        return row | ({"wrong": "; ".join(wrong)} if wrong else {})

    def _samples(self, ops: list[Op]) -> list[Array]:
        found = []
        for op in ops:
            alone = Alone(self.worker.device, op)
            alone.run()
            found.append(alone.sample())
        return found

    def _final(
        self, of: Candidates, times: dict[Choice, float]
    ) -> tuple[Choice, dict[Choice, float]]:
        """The fastest of the few that were fastest, and the times of those."""
        few = sorted(times, key=lambda choice: times[choice])[:FINALISTS]
        if of.model in times and of.model not in few:
            few.append(of.model)
        ms = dict.fromkeys(few, 0.0)
        for i in range(len(next(iter(of.ops.values())))):
            turns = {_named(choice): Alone(self.worker.device, of.ops[choice][i]) for choice in few}
            taken = self.in_turns(dict(turns), self.machine.OP_SECONDS)
            for choice in few:
                ms[choice] += taken[_named(choice)]
        return min(ms, key=lambda choice: ms[choice]), ms

    def write(self, rows: list[Row]) -> None:
        """The file that `minidl.ops.cuda.product.read_tuning` reads."""
        best = {row["problem"]: row["best"] for row in rows if "best" in row}
        if best:
            text = json.dumps(dict(sorted(best.items())), indent=1) + "\n"
            write_atomically(self.worker.out / FILE, text.encode())


def _named(choice: Choice) -> str:
    return f"{choice[0]} in {choice[1]}"


def _difference(found: list[Array], expected: list[Array]) -> float:
    """Of samples, relative; infinite where one is not finite."""
    if len(found) != len(expected):
        return float("inf")
    a, b = (np.concatenate(each).astype(np.float64) for each in (found, expected))
    error = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    return error if np.isfinite(error) else float("inf")


def tune(worker: Worker) -> None:
    """bf16 first; a problem that two networks have is measured once."""
    tuner = Tuner(worker)
    known = {row["problem"]: row for row in worker.found if "best" in row}
    todo: dict[str, tuple[str, Candidates]] = {}
    for precision in PRECISIONS:
        for case in worker.machine.CASES:
            for key, of in candidates(worker, case, precision).items():
                todo.setdefault(key, (precision, of))
    tuner.write(list(known.values()))
    for key in worker.mine(list(todo), str):
        worker.run(key, partial(_one, tuner, known, *todo[key]))


def _one(tuner: Tuner, known: dict[str, Row], precision: str, of: Candidates) -> Row:
    row = tuner.measure(precision, of)
    known[row["problem"]] = row
    tuner.write(list(known.values()))
    return row


def table(rows: list[Row]) -> str:
    known = [row for row in rows if "case" in row]
    lines = []
    for row in of_phase(known, "tune"):
        ms, model = row["ms"], row.get("model_ms")
        best, was = (_named(tuple(row[name])) for name in ("best", "model"))
        lines.append((row["case"], best, number(ms, 4), was, number(model, 4), ratio(model, ms)))
    head = ("PROBLEM", "best tile", "ms", "the model's", "ms", "/ best")
    return whole(rows, [aligned([head, *lines]) if lines else ""])
