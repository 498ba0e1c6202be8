"""The compile gate: every kernel that the well-known networks need, for every architecture."""

from __future__ import annotations

import csv

import pytest

pytest.importorskip("cuda.bindings", reason="NVRTC's bindings are not installed")

from benchmarks.resources import CHIPS, TABLE, Chip, compiled, complaints, header, units
from minidl.checkout import kernels_folder
from minidl.devices.kernels import Unit
from minidl.devices.nvrtc import CompileError, compile_unit, version

UNITS = units()


def table() -> tuple[str, list[str], dict[str, list[str]]]:
    with (kernels_folder() / TABLE).open(encoding="utf-8") as file:
        (made_by,), columns, *rows = csv.reader(file)
    return made_by, columns, {row[0]: row for row in rows}


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.architecture)
def test_no_kernel_spills(chip: Chip) -> None:
    made_by, columns, rows = table()
    same_compiler = made_by == f"NVRTC {'.'.join(map(str, version()))}"
    column = columns.index(f"{chip.architecture} registers")
    found = []
    for unit, made in compiled(chip, UNITS).items():
        launch = UNITS[unit]
        found += [f"{launch.kernel}: {text}" for text in complaints(chip, launch, made)]
        if same_compiler and str(made.registers) != rows[launch.kernel][column]:
            found.append(f"{launch.kernel}: {made.registers} registers, not {rows[launch.kernel]}")
    assert not found, "\n".join(found)


def test_the_table_has_every_kernel() -> None:
    _, columns, rows = table()
    assert columns == header()
    assert set(rows) == {launch.kernel for launch in UNITS.values()}, (
        "run python -m benchmarks.resources"
    )


SPILLING = """#include "elementwise.cuh"
struct spills {
    struct Params { float* x; };
    struct Shared { float x[1]; };
    static __device__ void run(const Params& p, Shared&) {
        float local[64];
        for (int i = 0; i < 64; i++) local[i] = p.x[i];
        for (int i = 0; i < 64; i++) p.x[i] = local[int(p.x[i]) & 63];
    }
};
KERNEL(bad, 256, 8, 4, spills)
"""


def test_local_memory_is_seen() -> None:
    made = compile_unit(Unit("bad", SPILLING), "sm_90a")
    assert made.stack_bytes > 0


def test_a_wrong_size_of_parameters_is_refused() -> None:
    with pytest.raises(CompileError, match="parameters"):
        compile_unit(Unit("bad", SPILLING.replace("256, 8", "256, 16")), "sm_80")
