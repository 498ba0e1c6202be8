"""`minidl build-kernels` and `minidl about`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import minidl as dl
from minidl.cli import main
from minidl.devices import cubins, cuda, nvrtc
from minidl.devices.architecture import architecture_for
from minidl.devices.cuda import CudaDevice
from minidl.devices.kernels import Unit, unit_of
from minidl.ops.cuda import launches_of
from minidl.recipe import Plan
from tests.cli.runs import failed
from tests.docs.pages import ROOT
from tests.simulator import fake_cupy

SMALL = ["--model", "lenet", "--classes", "10", "-b", "3"]
BINDINGS = "NVRTC's bindings are not installed"


def units(plan: Plan) -> set[Unit]:
    return {unit_of(launch) for op in plan.graph.ops for launch in launches_of(op)}


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was compiled, in the place of NVRTC and of processes."""
    done: list[str] = []

    def compile_unit(unit: Unit, architecture: object) -> nvrtc.Compiled:
        done.append(unit.entry)
        return nvrtc.Compiled(unit.entry.encode(), 1, 0, 0, ())

    monkeypatch.setattr(nvrtc, "version", lambda: (12, 4))
    monkeypatch.setattr(nvrtc, "supported", lambda: (75, 80, 90))
    monkeypatch.setattr(nvrtc, "compile_unit", compile_unit)
    monkeypatch.setattr(
        "minidl.devices.building.in_processes",
        lambda work, items, workers: ((item, work(item)) for item in items),
    )
    return done


def test_the_kernels_of_a_step_lie_where_the_device_looks(
    compiles: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--gpu", "h100", "--out", str(tmp_path)]
    assert main(["build-kernels", *SMALL, *out, "--precision", "bf16", "--lr", "0.5"]) == 0
    built = len(compiles)
    assert f"{built} kernels compiled for sm_90a by NVRTC 12.4: " in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == built == len(set(compiles))
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    bound: list[Unit] = []
    monkeypatch.setattr(CudaDevice, "prepare", lambda device, of_plan: bound.extend(of_plan))
    monkeypatch.setattr(CudaDevice, "launch", lambda *_: lambda: None)
    fake_cupy.install_machine(monkeypatch)
    sgd = dl.SGD(0.1, 0.9, weight_decay=5e-4)
    dl.compile(dl.models.lenet(10), 3, device="cuda", precision="bf16", optimizer=sgd)
    assert len(set(bound)) == built
    cubins.cubins(set(bound), 90)
    assert len(compiles) == built, "compiled again"


def test_several_networks_precisions_and_what_is_there(
    compiles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["build-kernels", *SMALL, "--gpu", "sm_80", "--out", str(tmp_path)]
    assert main(how) == 0
    first = len(compiles)
    more = ["--precision", "float32", "--precision", "bf16", "--model", "vgg_small"]
    capsys.readouterr()
    assert main([*how, *more]) == 0
    said = capsys.readouterr().out
    assert f"{len(compiles) - first} kernels compiled" in said
    assert f"{first} were there" in said
    assert len(set(compiles)) == len(compiles) > first
    for model in ("lenet", "vgg_small"):
        for precision in ("float32", "bf16"):
            assert f"{model}, batch 3, {precision}" in said


def test_a_card_newer_than_nvrtc(
    compiles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build-kernels", *SMALL, "--gpu", "rtx5090", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "does not know sm_120" in said
    assert f"{len(compiles)} kernels compiled for compute_90 " in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("--gpu h100", 2, "--model NAME is needed"),
        ("--model lenet", 2, "--gpu NAME is needed"),
        ("--model lenet --gpu h10", 2, "unknown GPU 'h10': did you mean h100?"),
        ("--model lenet --gpu t4", 2, "GPU 't4' is NVIDIA T4, sm_75: the kernels need sm_80"),
        ("--model lenet --gpu sm_75", 1, "sm_75 has compute capability 7.5"),
        ("--model lenet --gpu h100 --out pyproject.toml", 1, "pyproject.toml: File exists"),
    ],
)
@pytest.mark.usefixtures("compiles")
def test_what_goes_wrong(
    arguments: str, status: int, words: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(ROOT)
    found, line = failed(capsys, "build-kernels", *arguments.split())
    assert found == status
    assert words in line


def ends(group: int) -> bool:
    """Whether all of a group of processes end, and whoever inherited them takes note, in 60 s."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_nvrtc_builds_in_processes_and_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    """With the compiler at hand: interrupted when the first kernel is there, then run again."""
    pytest.importorskip("cuda.bindings", reason=BINDINGS)
    command = [sys.executable, "-m", "minidl.cli", "build-kernels", *SMALL, "-j", "2"]
    command += ["--gpu", "sm_80", "--out", str(tmp_path)]
    how = {"cwd": ROOT, "text": True, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    begun = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **how
    )
    while not list(tmp_path.glob("*.kernel")):
        assert begun.poll() is None, begun.communicate()
        time.sleep(0.01)
    os.killpg(begun.pid, signal.SIGINT)
    _, errors = begun.communicate()
    assert (begun.returncode, errors) == (130, "minidl build-kernels: interrupted\n")
    assert ends(begun.pid), "a worker was left behind"
    left = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert all(path.suffix == ".kernel" for path in left)
    done = subprocess.run(command, capture_output=True, check=True, **how)
    assert f", {len(left)} were there" in done.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in left.items())
    architecture = architecture_for(80, nvrtc.supported())
    plan = dl.plan(
        dl.models.lenet(10), 3, gpu="a100", optimizer=dl.SGD(0.01, 0.9, weight_decay=5e-4)
    )
    for unit in units(plan):
        code = cubins.read(tmp_path, cubins.key_of(unit, architecture))
        assert code is not None
        assert code.startswith(b"\x7fELF")


def test_about_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(nvrtc, "version", lambda: (12, 2))
    monkeypatch.setattr(nvrtc, "supported", lambda: (50, 80, 86, 90))
    assert main(["about"]) == 0
    said = capsys.readouterr().out
    assert "12.2, sm_80 to sm_90 (older than 12.4, the oldest tried)" in said
    assert "GPU      none to be used: device 'cuda' needs CuPy" in said
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    nvrtc.version.cache_clear()
    assert main(["about"]) == 0
    assert (
        "NVRTC    none to be used: NVRTC is missing: install minidl[nvrtc13]"
        in capsys.readouterr().out
    )


def test_about_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = {"name": b"NVIDIA L4", "major": 8, "minor": 9, "totalGlobalMem": 23 * 2**30}
    fake_cupy.install_machine(monkeypatch)
    monkeypatch.setattr(fake_cupy, "__version__", "14.9.9", raising=False)
    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceProperties", lambda index: card)
    assert dict(cuda.installed()) == {
        "CuPy": "14.9.9",
        "driver": "for CUDA 13.0 and older",
        "GPU 0": "NVIDIA L4, compute capability 8.9, 23.00 GiB",
    }
    assert main(["about"]) == 0
    said = capsys.readouterr().out
    assert "GPU 0    NVIDIA L4, compute capability 8.9, 23.00 GiB" in said
    monkeypatch.setattr(fake_cupy.cuda.runtime, "driverGetVersion", lambda: 0)
    assert main(["about"]) == 0
    assert "none to be used: no NVIDIA driver" in capsys.readouterr().out
