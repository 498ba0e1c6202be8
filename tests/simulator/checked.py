"""Run ops and steps under a checker: `python -m tests.simulator.checked --cases all --steps`.

MINIDL_SIMULATOR says which: `race`, or `address` with the address sanitizer's library preloaded.
Prints how much ran; any finding ends it with a non-zero status.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import minidl as dl
from tests.simulator.bench import ERRORS, check_case, prepare_case, units_of
from tests.simulator.device import VARIANT, SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import BATCH, batches, options


def run_ops(wanted: str, precisions: list[str], device: SimulatedDevice) -> int:
    cases = [case for name, (_, case) in zip(IDS, TABLE, strict=True) if wanted in ("all", name)]
    pairs = list(itertools.product(cases, precisions))
    device.prepare(units_of(prepare_case(*pair) for pair in pairs))
    for case, precision in pairs:
        check_case(case, precision, device)
    return len(pairs)


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
    ops = run_ops(wanted.cases, precisions, device)
    steps = run_steps(precisions, device) if wanted.steps else 0
    print(f"{VARIANT}: {ops} ops, {steps} steps")


if __name__ == "__main__":
    main()
