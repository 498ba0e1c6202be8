"""The compile gate's small part: a drawn tenth of the kernels by the NVRTC that is installed.

`python -m benchmarks.gate` compiles all, by every NVRTC that minidl supports.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings", reason="NVRTC's bindings are not installed")

from benchmarks import resources, together
from benchmarks.gate import COMPILERS, Compiler, requirements
from benchmarks.resources import (
    CHIPS,
    Figures,
    Kernel,
    cells,
    differences,
    figures,
    figures_of_group,
    kernels,
    read_table,
    table_of,
    write_table,
)
from minidl.devices import nvrtc
from minidl.devices.building import in_processes
from minidl.devices.kernels import Unit
from minidl.devices.nvrtc import CompileError, compile_unit
from minidl.ops.host import cores

KERNELS = kernels()
HERE = nvrtc.dotted(nvrtc.version())


def test_a_drawn_tenth_is_compiled_without_a_spill() -> None:
    """Each kernel for one architecture, drawn too; the same registers as in the table where that
    was made by this NVRTC."""
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    known = [c for c in CHIPS if c.capability in nvrtc.supported()]
    drawn = [(k, draw.choice(known)) for k in draw.sample(KERNELS, -(-len(KERNELS) // 10))]
    kept = read_table(table_of(HERE)) if table_of(HERE).exists() else None
    found = []
    for (kernel, chip), made in in_processes(figures, drawn, cores()):
        found += [f"{chip.name} {kernel.name}: {text}" for text in made.complaints]
        key = (kernel.name, kernel.source)
        if kept is not None and key in kept:
            row = {key: cells(kernel, {chip: made})}
            found += differences(row, {key: kept[key]})
    assert not found, "\n".join([f"seed {seed}", *found])


@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda compiler: compiler.version)
def test_the_table_of_a_compiler_has_every_kernel_and_no_spill(compiler: Compiler) -> None:
    assert table_of(compiler.version).exists(), "run python -m benchmarks.gate --write"
    rows = read_table(table_of(compiler.version))
    assert set(rows) == {(kernel.name, kernel.source) for kernel in KERNELS}, (
        "run python -m benchmarks.gate --write"
    )
    for row in rows.values():
        for architecture in compiler.compiles_for:
            assert row[f"{architecture} spilled bytes"] == "0"
            assert int(row[f"{architecture} registers"]) > 0
            assert float(row[f"{architecture} occupancy"]) > 0


def test_the_compilers_are_those_that_the_extras_allow() -> None:
    """The oldest of cuda12 is the lower bound of its extra; pins are of the extra's packages."""
    oldest = min(COMPILERS, key=lambda c: tuple(map(int, c.version.split("."))))
    assert oldest.extra == "nvrtc12"
    assert f"nvidia-cuda-nvrtc-cu12>={oldest.version}" in requirements("nvrtc12")
    assert tuple(map(int, oldest.version.split("."))) == nvrtc.OLDEST_TRIED
    for compiler in COMPILERS:
        names = {word.partition(">")[0] for word in requirements(compiler.extra)}
        assert {pin.partition("=")[0] for pin in compiler.pins} <= names
    for extra, of_all in (("nvrtc12", "cuda12"), ("nvrtc13", "cuda13")):
        assert f"minidl[{extra}]" in requirements(of_all)


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
BAD = Kernel("spills", "elementwise", 256, 4, "bad", SPILLING)
HOPPER = resources.CHIP_OF["sm_90a"]


def test_local_memory_is_seen() -> None:
    assert compile_unit(Unit("bad", SPILLING), "sm_90a").stack_bytes > 0
    (complaint,) = figures((BAD, HOPPER)).complaints
    assert complaint.endswith("bytes of local memory")


def test_a_kernel_that_is_refused_or_asks_for_too_much_is_seen() -> None:
    (refused,) = figures((replace(BAD, text="no_such_type x;\n"), HOPPER)).complaints
    assert "no_such_type" in refused
    large = replace(BAD, shared=HOPPER.shared_of_a_block + 1)
    assert any("bytes of shared memory" in text for text in figures((large, HOPPER)).complaints)


def test_kernels_of_one_program_have_the_figures_that_they_have_alone() -> None:
    """Of a drawn program some kernels, together and each alone."""
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    whole = draw.choice(resources.groups(KERNELS))
    group = draw.sample(whole, min(len(whole), 6))
    chip = draw.choice([c for c in CHIPS if c.capability in nvrtc.supported()])
    assert together.compiled([kernel.unit for kernel in group], chip.name), f"seed {seed}"
    alone = [figures((kernel, chip)) for kernel in group]
    assert figures_of_group((group, chip)) == alone, f"seed {seed}"


def test_every_kernel_is_in_one_program_of_its_own_files() -> None:
    groups = resources.groups(KERNELS)
    assert sorted(kernel.entry for group in groups for kernel in group) == sorted(
        kernel.entry for kernel in KERNELS
    )
    assert all(len({kernel.source for kernel in group}) == 1 for group in groups)
    assert max(map(len, groups)) == together.LARGEST


@pytest.mark.parametrize("wrong", [SPILLING, SPILLING + "no_such_type x;\n"], ids=["spills", "no"])
def test_a_program_with_an_unfit_kernel_has_one_unfit_kernel(wrong: str) -> None:
    """Of the others in it nothing is said, though the program is not clean."""
    neighbour = next(kernel for kernel in KERNELS if kernel.source == BAD.source)
    first, bad = figures_of_group(((neighbour, replace(BAD, text=wrong)), HOPPER))
    assert first == figures((neighbour, HOPPER))
    assert not first.complaints
    assert len(bad.complaints) == 1


def test_a_wrong_size_of_parameters_is_refused() -> None:
    with pytest.raises(CompileError, match="parameters"):
        compile_unit(Unit("bad", SPILLING.replace("256, 8", "256, 16")), "sm_80")


def test_a_table_is_read_as_it_was_written_and_compared(tmp_path: Path) -> None:
    registers = random.SystemRandom().randrange(1, 128)
    one = cells(BAD, {HOPPER: Figures(registers, 0, ())})
    rows = {("spills", "elementwise"): one}
    write_table(tmp_path / "new" / "1.csv", rows, [HOPPER])
    assert read_table(tmp_path / "new" / "1.csv") == rows
    assert not list(differences(rows, rows))
    other = {("spills", "elementwise"): one | {"sm_90a registers": str(registers + 1)}}
    (found,) = differences(rows, other)
    assert found == f"spills: sm_90a registers {registers}, the table has {registers + 1}"
    assert list(differences(rows, {})) == ["spills: not in the table"]
    assert list(differences({}, rows)) == ["spills: in the table, not needed"]


def test_the_command_fails_where_a_kernel_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resources, "kernels_folder", lambda: tmp_path)
    small = ("--architectures", "sm_80", "-j", "1", "--kernels")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    resources.save([min(KERNELS, key=lambda kernel: len(kernel.name))], good)
    resources.save([BAD], bad)
    assert resources.main([*small, str(good)]) == 1, "there is no table"
    assert resources.main([*small, str(good), "--write"]) == 0
    assert resources.main([*small, str(good)]) == 0
    assert resources.main([*small, str(bad), "--write"]) == 1
    assert "bytes of local memory" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"instead of 1\.0"):
        resources.main([*small, str(good), "--expect", "1.0"])
    with pytest.raises(SystemExit, match="does not know"):
        resources.main([*small, str(good), "--unknown", "sm_80"])
