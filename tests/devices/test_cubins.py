"""The cache of compiled kernels."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import pytest

from minidl.devices import cubins
from minidl.devices.architecture import CodeTarget
from minidl.devices.kernels import Unit
from minidl.devices.nvrtc import Compiled

UNIT = Unit("nothing", '#include "platform.cuh"\n')
SM_90A = CodeTarget("sm_90a")
CODE = bytes(range(256)) * 16


def compiled(code: bytes = CODE) -> Compiled:
    return Compiled(code, 1, 0, 0, ())


@pytest.fixture
def compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled, in the place of a compiler; the cache is a folder that is not there."""
    done: list[str] = []

    def compile_unit(unit: Unit, architecture: CodeTarget) -> Compiled:
        done.append(architecture.name)
        return compiled()

    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cubins.nvrtc, "version", lambda: (13, 0))
    monkeypatch.setattr(cubins.nvrtc, "supported", lambda: (80, 90))
    monkeypatch.setattr(cubins.nvrtc, "compile_unit", compile_unit)
    return done


def entry() -> Path:
    (path,) = cubins.cache_folder().iterdir()
    return path


def test_a_kernel_is_compiled_once(compiles: list[str]) -> None:
    assert [cubins.cubin(UNIT, SM_90A) for _ in range(3)] == [CODE] * 3
    assert compiles == ["sm_90a"]


@pytest.mark.parametrize("damage", ["a bit", "shorter", "longer", "empty", "another's"])
def test_a_damaged_entry_is_compiled_again_and_replaced(damage: str, compiles: list[str]) -> None:
    cubins.cubin(UNIT, SM_90A)
    path = entry()
    whole = path.read_bytes()
    bit = random.randrange(8 * len(whole))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    other = cubins._digest("another key", CODE) + CODE
    raw = {
        "a bit": bytes(flipped),
        "shorter": whole[: random.randrange(len(whole))],
        "longer": whole + b"\0",
        "empty": b"",
        "another's": other,
    }
    path.write_bytes(raw[damage])
    assert cubins.cubin(UNIT, SM_90A) == CODE, f"bit {bit}"
    assert len(compiles) == 2
    assert entry() == path
    assert path.read_bytes() == whole
    assert cubins.cubin(UNIT, SM_90A) == CODE
    assert len(compiles) == 2


def test_what_the_key_is_made_of(compiles: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        cubins.key_of(UNIT, SM_90A),
        cubins.key_of(UNIT, CodeTarget("sm_90")),
        cubins.key_of(UNIT, CodeTarget("compute_90", "PTX")),
        cubins.key_of(Unit("nothing", UNIT.source + "//\n"), SM_90A),
    ]
    monkeypatch.setattr(cubins.nvrtc, "version", lambda: (13, 1))
    keys.append(cubins.key_of(UNIT, SM_90A))
    monkeypatch.setattr(cubins.nvrtc, "OPTIONS", ("--std=c++20",))
    keys.append(cubins.key_of(UNIT, SM_90A))
    assert len(set(keys)) == len(keys)


def test_a_card_newer_than_its_compiler(compiles: list[str]) -> None:
    with pytest.warns(UserWarning, match="does not know sm_120: .* compute_90"):
        assert cubins.cubins([UNIT], 120) == {"nothing": CODE}
    assert compiles == ["compute_90"]
    assert cubins.cubins([UNIT], 90) == {"nothing": CODE}
    assert compiles == ["compute_90", "sm_90a"], "PTX was taken for machine code"
    assert len(list(cubins.cache_folder().iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    compiles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "file"))
    assert cubins.cubin(UNIT, SM_90A) == CODE


def _compile_slowly(path: str, counted: str) -> None:
    import os
    import time

    os.environ["MINIDL_CACHE"] = path

    def compile_unit(unit: Unit, architecture: CodeTarget) -> Compiled:
        time.sleep(0.1)
        with open(counted, "a") as file:
            file.write("x")
        return compiled()

    cubins.nvrtc.compile_unit = compile_unit  # type: ignore[assignment]
    cubins.nvrtc.version = lambda: (13, 0)  # type: ignore[assignment]
    assert cubins.cubin(UNIT, SM_90A) == CODE


def test_several_processes_fill_one_cache(tmp_path: Path) -> None:
    folder, counted = tmp_path / "cache", tmp_path / "count"
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_compile_slowly, args=(str(folder), str(counted))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    (kept,) = folder.iterdir()
    assert cubins.read(folder, kept.stem) == CODE
    before = counted.read_text()
    again = context.Process(target=_compile_slowly, args=(str(folder), str(counted)))
    again.start()
    again.join()
    assert again.exitcode == 0
    assert counted.read_text() == before, "compiled again"
