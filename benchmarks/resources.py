"""Registers, spills and occupancy of every kernel of the well-known networks, by NVRTC.

    python -m benchmarks.resources [--architectures sm_80,sm_90a] [--write] [--kernels FILE]
    python -m benchmarks.resources --loops FOLDER

compiles every kernel with the NVRTC that is installed, for every architecture or for some; it needs
no GPU. It fails where a kernel is refused, spills, uses local memory, draws a warning or does not
fit, and where a figure is not that of kernels/resources/<version>.csv; --write writes that file.
`python -m benchmarks.gate` runs it with every NVRTC that minidl supports.

--loops counts the main loops of products in their machine code (benchmarks/main_loops.py), for
sm_80, sm_89 and sm_90a if nothing else is asked for, and writes FOLDER/<version>.csv; it needs
nvidia-cuda-nvdisasm. Tables of before and after a change: benchmarks/results/main_loops.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import minidl as dl
from benchmarks import main_loops, together
from benchmarks.csv_tables import write_csv
from benchmarks.machine_code import disassembled
from minidl import models
from minidl.cards import ARCHITECTURES, DEFAULT
from minidl.checkout import kernels_folder
from minidl.devices import nvrtc
from minidl.devices.architecture import CodeTarget
from minidl.devices.building import in_processes
from minidl.devices.kernels import Unit, unit_of
from minidl.front import step_plans
from minidl.ir.card import Architecture
from minidl.ops.cuda import launches_of
from minidl.ops.host import cores

NETWORKS = (
    (models.alexnet, 128),
    (models.vgg16, 64),
    (models.resnet50, 64),
    (models.googlenet, 64),
)
PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Kernel:
    """A kernel that a network needs, and what its launch asks for."""

    name: str
    source: str
    """Files that its unit includes, without their endings."""
    threads: int
    shared: int
    """Bytes of a block."""
    entry: str
    text: str
    """The unit's source."""

    @property
    def unit(self) -> Unit:
        return Unit(self.entry, self.text)


def blocks(chip: Architecture, kernel: Kernel, registers: int) -> int:
    """That are resident on a multiprocessor."""
    warps = -(-kernel.threads // 32)
    registers_of_a_block = -(-registers * 32 // 256) * 256 * warps
    fits = (
        chip.threads // kernel.threads,
        chip.blocks,
        chip.registers // registers_of_a_block,
        chip.shared // (kernel.shared + 1024),
    )
    return min(fits)


def occupancy(chip: Architecture, kernel: Kernel, registers: int) -> float:
    """Share of a multiprocessor's threads that can be resident."""
    return blocks(chip, kernel, registers) * kernel.threads / chip.threads


CHIPS = tuple(ARCHITECTURES.values())
CHIP_OF = {chip.name: chip for chip in CHIPS}


@dataclass(frozen=True)
class Figures:
    """What became of a kernel."""

    registers: int
    spilled: int
    """Bytes."""
    complaints: tuple[str, ...]
    """What makes it unfit, refusal included."""


def kernels() -> list[Kernel]:
    """Every kernel that the networks' training steps and predictions need, once."""
    found: dict[str, Kernel] = {}
    for plan in _plans():
        for launch in itertools.chain.from_iterable(map(launches_of, plan.graph.ops)):
            unit = unit_of(launch)
            files = "+".join(dict.fromkeys(f.stem for f in (launch.source, *launch.more_sources)))
            need = (launch.kernel, files, launch.threads, launch.shared)
            found.setdefault(unit.entry, Kernel(*need, unit.entry, unit.source))
    return sorted(found.values(), key=lambda kernel: (kernel.source, kernel.name))


def _plans() -> Iterator[dl.Plan]:
    for build, batch in NETWORKS:
        network = build()
        ways = [{"memory": "arena"}, {"memory": "naive"}]
        if build is models.alexnet:
            ways.append({"clip_norm": 1.0, "accumulate": 2})
        for precision, how in itertools.product(PRECISIONS, ways):
            yield from step_plans(network, batch, card=DEFAULT, precision=precision, **how)


def figures(what: tuple[Kernel, Architecture]) -> Figures:
    """Compile one kernel for one chip."""
    kernel, chip = what
    try:
        made = nvrtc.compile_unit(kernel.unit, CodeTarget(chip.name))
    except nvrtc.CompileError as error:
        return Figures(0, 0, (" ".join(str(error).split()),))
    return _figures(kernel, chip, made)


def figures_of_group(what: tuple[Sequence[Kernel], Architecture]) -> list[Figures]:
    """The same of kernels that are one program, where that says no more than a clean one."""
    group, chip = what
    made = together.compiled([kernel.unit for kernel in group], chip.name)
    if made is None:
        return [figures((kernel, chip)) for kernel in group]
    return [_figures(kernel, chip, its) for kernel, its in zip(group, made, strict=True)]


def _figures(kernel: Kernel, chip: Architecture, made: nvrtc.Compiled) -> Figures:
    return Figures(made.registers, made.spilled_bytes, tuple(complaints(chip, kernel, made)))


def complaints(chip: Architecture, kernel: Kernel, made: nvrtc.Compiled) -> list[str]:
    """What makes a compiled kernel unfit for a chip."""
    found = [f"warning: {warning}" for warning in made.warnings]
    if made.spilled_bytes:
        found.append(f"{made.spilled_bytes} bytes of registers spilled")
    if made.stack_bytes:
        found.append(f"{made.stack_bytes} bytes of local memory")
    if not made.registers:
        found.append("ptxas printed no registers")
    if kernel.shared > chip.shared_of_a_block:
        found.append(f"{kernel.shared} bytes of shared memory, {chip.shared_of_a_block} at most")
    elif made.registers and not occupancy(chip, kernel, made.registers):
        found.append(f"{made.registers} registers: no block fits")
    return found


# -- the tables ------------------------------------------------------------------------------------

FOLDER = "resources"
FIXED = ("kernel", "source", "threads", "shared bytes")
COLUMNS = ("registers", "spilled bytes", "occupancy")

Table = dict[tuple[str, str], dict[str, str]]
"""Rows by a kernel's name and source; cells by their column."""


def table_of(version: str) -> Path:
    """The committed table of an NVRTC, say 13.5."""
    return Path(kernels_folder()) / FOLDER / f"{version}.csv"


def read_table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["kernel"], row["source"]): row for row in csv.DictReader(file)}


def write_table(path: Path, rows: Table, chips: Iterable[Architecture]) -> None:
    columns = [f"{chip.name} {column}" for chip in chips for column in COLUMNS]
    write_csv(path, [*FIXED, *columns], rows.values())


def cells(kernel: Kernel, made: dict[Architecture, Figures]) -> dict[str, str]:
    """A kernel's row."""
    fixed = (kernel.name, kernel.source, str(kernel.threads), str(kernel.shared))
    row = dict(zip(FIXED, fixed, strict=True))
    for chip, found in made.items():
        share = f"{occupancy(chip, kernel, max(1, found.registers)):.2f}"
        values = (str(found.registers), str(found.spilled), share)
        row |= {f"{chip.name} {c}": v for c, v in zip(COLUMNS, values, strict=True)}
    return row


def differences(rows: Table, kept: Table) -> Iterator[str]:
    """Where what was compiled is not what the table says."""
    for key in sorted({*rows, *kept}):
        if key not in kept or key not in rows:
            yield f"{key[0]}: {'not in the table' if key in rows else 'in the table, not needed'}"
            continue
        for column, value in rows[key].items():
            if kept[key].get(column) != value:
                yield f"{key[0]}: {column} {value}, the table has {kept[key].get(column)}"


# -- main loops ------------------------------------------------------------------------------------


def loops(wanted: Iterable[Kernel], chips: Iterable[Architecture]) -> Iterator[main_loops.Row]:
    """Rows of the products among the kernels; those of one program are compiled together."""
    products = [kernel for kernel in wanted if kernel.name.startswith("Gemm<")]
    for chip, group in itertools.product(chips, groups(products)):
        made = nvrtc.compile_unit(together.program([k.unit for k in group]), chip.name)
        if made.spilled_bytes or made.stack_bytes:
            raise SystemExit(f"{chip.name}: a kernel spills: leave out --loops to see which")
        registers, code = together.registers(made), disassembled(made.code)
        for kernel in group:
            used = registers[kernel.entry]
            needs = (used, kernel.shared, blocks(chip, kernel, used))
            yield main_loops.row(kernel.name, chip.name, needs, code[kernel.entry])


# -- the command -----------------------------------------------------------------------------------


def groups(wanted: Iterable[Kernel]) -> list[tuple[Kernel, ...]]:
    """Those that are compiled as one program."""
    of_entry = {kernel.entry: kernel for kernel in wanted}
    programs = together.groups(kernel.unit for kernel in of_entry.values())
    return [tuple(of_entry[unit.entry] for unit in units) for units in programs]


def compile_all(
    wanted: Sequence[Kernel], chips: Sequence[Architecture], workers: int
) -> dict[Kernel, dict[Architecture, Figures]]:
    """What became of each, in the order of the arguments; a line for every ten programs."""
    work = [(group, chip) for chip in chips for group in groups(wanted)]
    made: dict[tuple[Kernel, Architecture], Figures] = {}
    began, count = time.perf_counter(), len(wanted) * len(chips)
    for number, ((group, chip), found) in enumerate(
        in_processes(figures_of_group, work, workers), 1
    ):
        made |= {(kernel, chip): its for kernel, its in zip(group, found, strict=True)}
        if number % 10 == 0 or number == len(work):
            print(f"  {len(made)}/{count}  {time.perf_counter() - began:.0f} s", flush=True)
    return {kernel: {chip: made[kernel, chip] for chip in chips} for kernel in wanted}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    version = nvrtc.dotted(nvrtc.version())
    names = options.architectures or ",".join(main_loops.CHIPS if options.loops else CHIP_OF)
    asked = [CHIP_OF[name] for name in names.split(",")]
    known = nvrtc.supported()
    chips = [chip for chip in asked if CodeTarget(chip.name).capability in known]
    unknown = [chip.name for chip in asked if chip not in chips]
    if options.expect not in (None, version):
        raise SystemExit(f"NVRTC {version} was found instead of {options.expect}")
    if options.unknown is not None and ",".join(unknown) != options.unknown:
        raise SystemExit(f"NVRTC {version} does not know {unknown}, expected {options.unknown!r}")
    if unknown:
        print(f"NVRTC {version} does not know {', '.join(unknown)}: such a card gets PTX")
    names = ", ".join(chip.name for chip in chips)
    wanted = kernels() if options.kernels is None else load(options.kernels)
    print(f"NVRTC {version}: {len(wanted)} kernels for {names}", flush=True)
    if options.loops is not None:
        main_loops.write(options.loops / f"{version}.csv", list(loops(wanted, chips)))
        return 0
    made = compile_all(wanted, chips, options.workers)
    wrong = [
        f"{chip.name} {kernel.name}: {complaint}"
        for kernel, of_chips in made.items()
        for chip, found in of_chips.items()
        for complaint in found.complaints
    ]
    rows = {
        (kernel.name, kernel.source): cells(kernel, of_chips) for kernel, of_chips in made.items()
    }
    if options.write:
        write_table(table_of(version), rows, chips)
    else:
        wrong += _compared(rows, table_of(version))
    for line in wrong:
        print(f"NVRTC {version}: {line}", file=sys.stderr)
    print(f"NVRTC {version}: {len(wrong)} complaints", flush=True)
    return 1 if wrong else 0


def _compared(rows: Table, path: Path) -> list[str]:
    if not path.exists():
        return [f"there is no {path}: --write makes it"]
    return list(differences(rows, read_table(path)))


def load(path: Path) -> list[Kernel]:
    return [Kernel(**each) for each in json.loads(path.read_text(encoding="utf-8"))]


def save(wanted: Iterable[Kernel], path: Path) -> None:
    path.write_text(json.dumps([asdict(kernel) for kernel in wanted]), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = ",".join(CHIP_OF)
    parser.add_argument("--architectures", help=f"some of {every}, which is what is left out")
    parser.add_argument("--loops", type=Path, metavar="FOLDER", help="count main loops instead")
    parser.add_argument("--write", action="store_true", help="write the table")
    parser.add_argument("--kernels", type=Path, help="a list of kernels that was saved before")
    parser.add_argument("--expect", help="the version that NVRTC must have")
    parser.add_argument("--unknown", help="the architectures that it must not know")
    parser.add_argument("-j", "--workers", type=int, default=cores(), help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
