"""What a unit is made of: its own text, what that includes, and how it is made."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from minidl.checkout import kernels_folder
from minidl.devices.kernels import digest_of

POOL = '#include "pool2d.cu"\nKERNEL(pool)\n'
SOURCES = {path.name: path.read_text() for path in kernels_folder().glob("*.cu*")}


def closure(name: str) -> set[str]:
    """A file of `kernels/` and all that it includes."""
    inner = re.findall(r'#include "(.*)"', SOURCES[name])
    return {name}.union(*map(closure, inner))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(kernels_folder(), tmp_path / "kernels"))


@pytest.mark.parametrize("changed", SOURCES)
def test_a_digest_follows_the_files_that_are_included_and_no_others(
    changed: str, folder: Path
) -> None:
    units = {name: f'#include "{name}"\n' for name in SOURCES}
    before = {name: digest_of(text, (folder,)) for name, text in units.items()}
    (folder / changed).write_text(SOURCES[changed] + "// changed\n")
    after = {name: digest_of(text, (folder,)) for name, text in units.items()}
    moved = {name for name in units if before[name] != after[name]}
    assert moved == {name for name in units if changed in closure(name)}
    assert changed in moved


def test_the_same_files_elsewhere_have_the_same_digest(folder: Path) -> None:
    assert digest_of(POOL, (folder,)) == digest_of(POOL, (kernels_folder(),))


def test_source_and_way_count(folder: Path) -> None:
    ways = [
        digest_of(POOL, (folder,)),
        digest_of(POOL + " ", (folder,)),
        digest_of(POOL, (folder,), "sm_80"),
        digest_of(POOL, (folder,), "sm_80", "-O1"),
        digest_of(POOL, (folder,), "sm_80\0-O1"),
        digest_of(POOL, (folder,), "sm_8", "0-O1"),
    ]
    assert len(set(ways)) == len(ways)


def test_a_file_is_looked_for_in_every_folder(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "host.hpp").write_text('#include "platform.cuh"\n')
    source = '  #  include "host.hpp"\n'
    before = digest_of(source, (folder, other))
    (folder / "ptx.cuh").write_text("// reached through host.hpp and platform.cuh\n")
    assert digest_of(source, (folder, other)) != before


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('#include "b"\n')
    (tmp_path / "b").write_text('#include "a"\n#include "nowhere"\n')
    before = digest_of('#include "a"', (tmp_path,))
    (tmp_path / "b").write_text('#include "a"\n#include "nowhere"\n//\n')
    assert digest_of('#include "a"', (tmp_path,)) != before
