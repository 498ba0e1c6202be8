"""Run ops and steps under a checker: `python -m tests.simulator.checked --cases drawn --steps`.

`--cases templates` runs as few cases as have every kernel template that all have, `drawn` a third
of all, which MINIDL_TEST_SEED draws.
MINIDL_SIMULATOR says which: `race`, or `address` with the address sanitizer's library preloaded.
Prints how much ran; any finding ends it with a non-zero status.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import minidl as dl
from minidl.ops.cuda import launches_of
from tests.drawn import drawn
from tests.layers.harness import Case
from tests.simulator.bench import ERRORS, check_case, prepare_case, units_of
from tests.simulator.device import VARIANT, SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import BATCH, batches, options

Pair = tuple[Case, str]

LARGE = ("conv2d-many-tiles",)
"""Left out of `drawn`: conv2d-some-tiles is the same on fewer pixels."""


def run_ops(wanted: str, precisions: list[str], device: SimulatedDevice) -> list[Pair]:
    pairs = [pair for precision in precisions for pair in chosen(wanted, precision)]
    device.prepare(units_of(prepare_case(*pair) for pair in pairs))
    for case, precision in pairs:
        check_case(case, precision, device)
    return pairs


def chosen(wanted: str, precision: str) -> list[Pair]:
    """Cases in a precision: `drawn`, those that have every template, or the one of that name."""
    if wanted == "templates":
        return [(case, precision) for case in one_a_template(precision)]
    named = zip(IDS, TABLE, strict=True)
    if wanted == "drawn":
        return [(case, precision) for case in drawn_cases()]
    return [(case, precision) for name, (_, case) in named if wanted == name]


def drawn_cases() -> list[Case]:
    """A third of all, other ones in every session."""
    named = zip(IDS, TABLE, strict=True)
    return drawn([case for name, (_, case) in named if name not in LARGE], 3)


def one_a_template(precision: str) -> list[Case]:
    """The case with most templates that no case before it has, until all are there."""
    cases = {case: templates(case, precision) for _, case in TABLE}
    found, left = [], set().union(*cases.values())
    while left:
        found.append(max(cases, key=lambda case: len(cases[case] & left)))
        left -= cases[found[-1]]
    return found


def templates(case: Case, precision: str) -> set[str]:
    """The kernels of a case, whatever their numbers."""
    launches = (k for op in prepare_case(case, precision).ops for k in launches_of(op))
    return {re.sub(r"\b\d+\b", "N", launch.kernel) for launch in launches}


def run_steps(precisions: list[str], device: SimulatedDevice) -> int:
    count = 0
    for name, build in NETWORKS.items():
        for precision in precisions:
            network = build()
            how = options(name, device=device, precision=precision)
            step = dl.compile(network, BATCH, **how)
            for batch in batches(network, 2):
                step(*batch)
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default="")
    parser.add_argument("--precision", action="append", default=[])
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--sources", type=Path)
    wanted = parser.parse_args()
    # a copy that is made at once is the earliest that it may overwrite what is still read
    device = SimulatedDevice(sources=wanted.sources, seed=2, eager_copies=True)
    precisions = wanted.precision or list(ERRORS)
    ops = len(run_ops(wanted.cases, precisions, device))
    steps = run_steps(precisions, device) if wanted.steps else 0
    print(f"{VARIANT}: {ops} ops, {steps} steps")


if __name__ == "__main__":
    main()
