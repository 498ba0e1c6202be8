"""Do what docs/adding_a_layer.md says: its files, its checks, and training in every mode."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import minidl as dl
from minidl.checkout import kernels_folder
from minidl.ops.cuda.rules import KERNELS
from tests.docs.pages import blocks, page
from tests.layers.harness import CHECKS, refuses
from tests.simulator.bench import ERRORS, assert_close, in_place_differences, run_case
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice

ROOT = Path(dl.__file__).parent.parent
BLOCKS = blocks(page("docs/adding_a_layer.md"), "python")


def written(file: str) -> str:
    """The block that begins with the name of a file."""
    (code,) = [block for block in BLOCKS if block.startswith(f"# {file}\n")]
    return code


def module(file: str, folder: Path) -> ModuleType:
    """Write the page's file to a folder and run it as the module that it would be."""
    name = file.removesuffix(".py").replace("/", ".")
    made = ModuleType(name)
    path = folder / Path(file).name
    path.write_text(written(file), encoding="utf-8")
    sys.modules[name] = made
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), made.__dict__)
    return made


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's tests, with its layer published."""
    for name in ("layers.scale", "ops.scale", "ops.cuda.scale"):
        monkeypatch.setitem(sys.modules, f"minidl.{name}", ModuleType(name))
    monkeypatch.setitem(sys.modules, "tests.layers.test_scale", ModuleType("test_scale"))
    monkeypatch.setattr("minidl.ops.cuda.rules.KERNELS", dict(KERNELS))
    for file in ("minidl/ops/scale.py", "minidl/ops/cuda/scale.py"):
        module(file, tmp_path)
    layer = module("minidl/layers/scale.py", tmp_path)
    monkeypatch.setattr(dl, "Scale", layer.Scale, raising=False)
    return module("tests/layers/test_scale.py", tmp_path)


def test_the_cases_pass_every_check(pages: ModuleType) -> None:
    assert pages.CASES
    for case in pages.CASES:
        for check in CHECKS:
            check(case)


def test_the_bad_case_is_refused(pages: ModuleType) -> None:
    assert pages.BAD
    for case in pages.BAD:
        refuses(case)


def test_it_trains_to_the_same_bits_in_every_mode(pages: ModuleType) -> None:
    (code,) = [block for block in BLOCKS if block.startswith("import")]
    exec(compile(code, "adding_a_layer.md", "exec"), {})


def test_the_published_name_is_one_line(pages: ModuleType) -> None:
    (line,) = [block for block in BLOCKS if block.startswith("from minidl.layers.scale")]
    names: dict[str, object] = {}
    exec(compile(line, "adding_a_layer.md", "exec"), names)
    assert names["Scale"] is dl.Scale  # type: ignore[attr-defined]
    assert line.count("\n") == 1


IN_THE_TREE = """
import minidl as dl
from minidl.ops.cuda import launches_of

net = dl.Sequential(dl.Input((4, 4, 2)), dl.Scale(), dl.Flatten(), dl.Linear(3))
ops = dl.plan(net, 2, device="cuda").graph.ops
print({launch.source.name for op in ops for launch in launches_of(op) if "scale" in launch.kernel})
"""


def test_it_is_there_in_a_tree_with_its_files(tmp_path: Path) -> None:
    """In a process that has imported nothing before: a ring of imports would show."""
    for folder in ("minidl", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("minidl/layers/scale.py", "minidl/ops/scale.py", "minidl/ops/cuda/scale.py"):
        (tmp_path / file).write_text(written(file), encoding="utf-8")
    (line,) = [block for block in BLOCKS if block.startswith("from minidl.layers.scale")]
    layers, rules = (tmp_path / f"minidl/{room}/__init__.py" for room in ("layers", "ops/cuda"))
    names = layers.read_text().replace("\n__all__ = [\n", f'\n{line}\n__all__ = [\n    "Scale",\n')
    layers.write_text(names)
    rules.write_text(rules.read_text().replace("    reduction,\n", "    reduction,\n    scale,\n"))
    command = [sys.executable, "-c", IN_THE_TREE]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("{'scale.cu'}\n", "")


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
@pytest.mark.parametrize("precision", ERRORS)
def test_its_kernels_pass_every_case(pages: ModuleType, tmp_path: Path, precision: str) -> None:
    (code,) = blocks(page("docs/adding_a_layer.md"), "cuda")
    assert code.startswith("// kernels/scale.cu\n")
    sources = tmp_path / "kernels"
    shutil.copytree(kernels_folder(), sources)
    (sources / "scale.cu").write_text(code, encoding="utf-8")
    device = SimulatedDevice(sources=sources)
    for case in pages.CASES:
        assert_close(run_case(case, precision, device), ERRORS[precision])
        assert not in_place_differences(case, precision, device)
