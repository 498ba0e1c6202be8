"""The wheel, in a fresh environment; and the source distribution, which gives the same wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PROOF = """
import pathlib, minidl, minidl.models
from minidl.checkout import kernels_folder
from minidl.data import digits
assert pathlib.Path(minidl.__file__).is_relative_to(pathlib.Path({prefix!r})), minidl.__file__
assert kernels_folder().is_dir(), kernels_folder()
from minidl.predict.imagenet import imagenet_names
assert len(digits((8, 8, 1)).test_labels) == 359
assert len(imagenet_names()) == 1000
assert minidl.plan(minidl.models.lenet(), 2, gpu="h100").time().seconds > 0
step = minidl.compile(minidl.models.lenet(), 2)
import numpy as np
assert 0 < step(np.zeros((2, 32, 32, 1)), np.array([1, 2])) < 10
"""


SDIST = """
import sys
from setuptools import build_meta
print(build_meta.build_sdist(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "minidl"
    ignore = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(ROOT, folder, ignore=ignore))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _wheel(source, tmp_path_factory.mktemp("wheel"))


def _wheel(source: Path, folder: Path) -> Path:
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source))
    (found,) = folder.glob("minidl-*.whl")
    return found


def test_wheel_holds_the_package_and_no_tests(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl"), "one for every machine: nothing is compiled"
    names = zipfile.ZipFile(wheel).namelist()
    assert "minidl/models/vgg.py" in names
    assert "minidl/data/digits.csv.gz" in names
    assert "minidl/predict/imagenet_classes.txt" in names
    assert "minidl/py.typed" in names
    assert "minidl/kernels/README.md" in names
    assert "minidl/kernels/resources/instructions.csv" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"minidl", next(top for top in tops if top.endswith(".dist-info"))}


def test_wheel_trains_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    _run(str(python), "-m", "pip", "install", "-q", str(wheel), cwd=tmp_path)
    proof = PROOF.format(prefix=str((tmp_path / "fresh").resolve()))
    _run(str(python), "-c", proof, cwd=tmp_path)
    listed = _run(
        str(tmp_path / "fresh" / "bin" / "minidl"), "plan", "--model", "lenet", cwd=tmp_path
    )
    assert "arena" in listed


@pytest.mark.slow
def test_the_source_distribution_gives_the_same_wheel(
    wheel: Path, source: Path, tmp_path: Path
) -> None:
    """And holds the changelog, but neither tests nor documentation."""
    venv.create(tmp_path / "fresh", with_pip=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    _run(python, "-m", "pip", "install", "-q", PROJECT["build-system"]["requires"][0])
    made = _run(python, "-W", "error", "-c", SDIST, str(tmp_path), cwd=source).splitlines()[-1]
    with tarfile.open(tmp_path / made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "LICENSE", "kernels/conv2d.cu", "models/vgg.py"} <= names
    assert not {name.split("/")[0] for name in names} & {"tests", "docs", "benchmarks"}
    again = _wheel(tmp_path / made, tmp_path / "again")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def _run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
