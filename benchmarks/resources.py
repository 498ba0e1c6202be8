"""Registers, shared memory, spills and occupancy of every kernel of the well-known networks.

`python -m benchmarks.resources` compiles them with NVRTC (no GPU needed) and writes
kernels/resources.csv. A test compiles them again: spills, local memory or a warning fail it.
"""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import minidl as dl
from minidl import models
from minidl.checkout import kernels_folder
from minidl.devices.kernels import Unit, unit_of
from minidl.devices.nvrtc import Compiled, compile_unit, version
from minidl.launches import Launch, launches_of

NETWORKS = (
    (models.alexnet, 128),
    (models.vgg16, 64),
    (models.resnet50, 64),
    (models.googlenet, 64),
)
PRECISIONS = ("float32", "tf32", "bf16")
TABLE = "resources.csv"


@dataclass(frozen=True)
class Chip:
    """Limits of one multiprocessor: CUDA C++ Programming Guide, compute capabilities."""

    architecture: str
    threads: int
    blocks: int
    shared: int
    shared_of_a_block: int
    registers: int = 65536

    def occupancy(self, launch: Launch, registers: int) -> float:
        """Share of the multiprocessor's threads that can be resident."""
        warps = -(-launch.threads // 32)
        registers_of_a_block = -(-registers * 32 // 256) * 256 * warps
        fits = (
            self.threads // launch.threads,
            self.blocks,
            self.registers // registers_of_a_block,
            self.shared // (launch.shared + 1024),
        )
        return min(fits) * launch.threads / self.threads


CHIPS = (
    Chip("sm_80", 2048, 32, 164 * 1024, 163 * 1024),
    Chip("sm_86", 1536, 16, 100 * 1024, 99 * 1024),
    Chip("sm_89", 1536, 24, 100 * 1024, 99 * 1024),
    Chip("sm_90a", 2048, 32, 228 * 1024, 227 * 1024),
    Chip("sm_120", 1536, 24, 100 * 1024, 99 * 1024),
)


def units() -> dict[Unit, Launch]:
    """Every kernel that the networks' training steps and predictions need, once."""
    found: dict[str, tuple[Unit, Launch]] = {}
    for launch in _launches():
        unit = unit_of(launch)
        found.setdefault(unit.entry, (unit, launch))
    return dict(sorted(found.values(), key=lambda pair: (pair[1].source, pair[1].kernel)))


def _launches() -> Iterator[Launch]:
    for build, batch in NETWORKS:
        network = build()
        ways = [{"memory": "arena"}, {"memory": "naive"}]
        if build is models.alexnet:
            ways.append({"clip_norm": 1.0, "accumulate": 2})
        for precision, how in itertools.product(PRECISIONS, ways):
            plan = dl.plan(network, batch, device="cuda", precision=precision, modes=False, **how)
            for op in plan.graph.ops:
                yield from launches_of(op)


def compiled(chip: Chip, all_units: dict[Unit, Launch]) -> dict[Unit, Compiled]:
    """Every unit for one chip; CompileError for the first that is refused."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda unit: compile_unit(unit, chip.architecture), all_units)
        return dict(zip(all_units, made, strict=True))


def complaints(chip: Chip, launch: Launch, made: Compiled) -> list[str]:
    """What makes a kernel unfit for a chip."""
    found = [f"warning: {warning}" for warning in made.warnings]
    if made.spilled_bytes:
        found.append(f"{made.spilled_bytes} bytes of registers spilled")
    if made.stack_bytes:
        found.append(f"{made.stack_bytes} bytes of local memory")
    if launch.shared > chip.shared_of_a_block:
        found.append(f"{launch.shared} bytes of shared memory, {chip.shared_of_a_block} at most")
    if not chip.occupancy(launch, made.registers):
        found.append(f"{made.registers} registers: no block fits")
    return found


def header() -> list[str]:
    columns = [
        f"{chip.architecture} {what}" for chip in CHIPS for what in ("registers", "occupancy")
    ]
    return ["kernel", "source", "threads", "shared bytes", *columns]


def main() -> None:
    all_units = units()
    made = {chip: compiled(chip, all_units) for chip in CHIPS}
    path = Path(kernels_folder()) / TABLE
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f"NVRTC {'.'.join(map(str, version()))}"])
        writer.writerow(header())
        for unit, launch in all_units.items():
            row = [launch.kernel, launch.source, launch.threads, launch.shared]
            for chip in CHIPS:
                registers = made[chip][unit].registers
                row += [registers, f"{chip.occupancy(launch, registers):.2f}"]
                for complaint in complaints(chip, launch, made[chip][unit]):
                    print(f"{chip.architecture} {launch.kernel}: {complaint}")
            writer.writerow(row)
    print(f"{len(all_units)} kernels for {len(CHIPS)} architectures: {path}")


if __name__ == "__main__":
    main()
