"""Kernels compiled by g++, many in one translation unit, and kept: a library once made is found by
the digest of all that a kernel is made of.

Parsing the headers costs more than most kernels do, so kernels that are needed together are
compiled together. Processes that need the same kernel at once share the work: one holds the
kernel's lock while it compiles, the others wait for it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from minidl.devices.kernels import Unit, digest_of

HERE = Path(__file__).parent
HEADER = "cuda_host.hpp"
COMPILER = shutil.which("g++")
COMMON = ("-std=c++17", "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing")
TOGETHER = 16
"""Kernels of one translation unit at most."""


class SimulatorError(AssertionError):
    """A kernel that a GPU might run, wrongly: a race, a barrier that diverges, a bad address."""


def cache_folder() -> Path:
    """Where libraries are kept."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"minidl-simulator-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Toolchain:
    """How sources become libraries: flags of the compiler and the linker, the kernels' folder."""

    flags: tuple[str, ...]
    link: tuple[str, ...]
    folder: Path
    more: tuple[Path, ...] = ()
    """Where kernels of other packages include from, too."""

    def of(self, unit: Unit) -> Toolchain:
        """The same for a unit that may include from folders of its own."""
        return replace(self, more=unit.folders)

    @property
    def _include(self) -> tuple[str, ...]:
        folders = (f"-I{folder}" for folder in (self.folder, HERE, *self.more))
        return "-include", str(_precompiled(self.flags)), *folders

    @functools.cache  # noqa: B019 - sources do not change while a process runs
    def path(self, source: str) -> Path:
        """Where the library of a source is, or will be."""
        whole = f'#include "{HEADER}"\n{source}'
        how = (*COMMON, *self.flags, "link", *self.link)
        return cache_folder() / f"{digest_of(whole, (self.folder, HERE, *self.more), *how)[:32]}.so"

    def made(self, source: str) -> Path:
        """The library of one source."""
        path = self.path(source)
        with _held(path):
            if not path.exists():
                self._compile(source, [path])
        return path

    def prepare(self, units: Iterable[Unit]) -> None:
        """Make the libraries of all units, those that share files side by side in one."""
        units = list(units)
        for toolchain in {self.of(unit) for unit in units}:
            toolchain._prepare(unit.source for unit in units if self.of(unit) == toolchain)

    def _prepare(self, sources: Iterable[str]) -> None:
        missing = {source for source in sources if not self.path(source).exists()}
        ordered = sorted(missing, key=lambda source: _parts(source)[0])
        groups = [ordered[i : i + TOGETHER] for i in range(0, len(ordered), TOGETHER)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._prepare_group, groups))

    def require_valid(self, units: Iterable[Unit]) -> None:
        """SimulatorError unless each unit is right C++: every template is instantiated, nothing
        built, which takes a fraction of the time."""
        of_files: dict[tuple[str, ...], list[str]] = {}
        for unit in units:
            includes, instance = _parts(unit.source)
            of_files.setdefault(includes, []).append(instance)
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            code = Path(scratch) / "units.cpp"
            for includes, instances in of_files.items():
                code.write_text("".join((*includes, *instances)))
                _run("g++", *COMMON, *self.flags, "-fsyntax-only", *self._include, str(code))

    def _prepare_group(self, sources: Sequence[str]) -> None:
        paths = {source: self.path(source) for source in sources}
        with _free_ones(paths) as mine:
            self._compile_together([s for s in mine if not paths[s].exists()])
        for source in sources:  # what other processes were making; or made by us after all
            self.made(source)

    def _compile_together(self, sources: Sequence[str]) -> None:
        includes = dict.fromkeys(line for source in sources for line in _parts(source)[0])
        text = "".join((*includes, *(_parts(source)[1] for source in sources)))
        try:
            if sources:
                self._compile(text, [self.path(source) for source in sources])
        except SimulatorError:
            if len(sources) == 1:
                raise
            for source in sources:  # so that the error is of the one that is wrong
                self._compile_together([source])

    def _compile(self, text: str, paths: Sequence[Path]) -> None:
        """One library, under the name of everything that is in it."""
        first, *others = paths
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            code, made, whole = (Path(scratch) / f"unit.{kind}" for kind in ("cpp", "o", "so"))
            code.write_text(text)
            _run("g++", *COMMON, *self.flags, *self._include, "-c", str(code), "-o", str(made))
            _run("g++", "-shared", *self.link, str(made), "-o", str(whole))
            for i, path in enumerate(others):
                name = Path(scratch) / f"{i}.so"
                name.symlink_to(first.name)
                name.replace(path)
            whole.replace(first)


@functools.cache
def _precompiled(flags: tuple[str, ...]) -> Path:
    """A copy of cuda_host.hpp beside what g++ makes of it, which it then reads in the place of the
    standard library's headers: these take longer than most kernels."""
    text = (HERE / HEADER).read_text(encoding="utf-8")
    path = cache_folder() / digest_of(text, (HERE,), *COMMON, *flags)[:32] / HEADER
    made = path.with_suffix(".hpp.gch")
    path.parent.mkdir(exist_ok=True)
    with _held(path):
        if not made.exists():
            path.write_text(text, encoding="utf-8")
            scratch = made.with_suffix(".new")
            _run("g++", *COMMON, *flags, "-x", "c++-header", str(path), "-o", str(scratch))
            scratch.replace(made)
    return path


def _parts(source: str) -> tuple[tuple[str, ...], str]:
    """The files that a kernel includes, and its instantiation."""
    lines = source.splitlines(keepends=True)
    includes = tuple(line for line in lines if line.startswith("#include"))
    return includes, "".join(lines[len(includes) :])


def _run(*command: str) -> None:
    """Without the sanitizer's library that this process may have been started with."""
    clean = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, env=clean)
    if done.returncode:
        raise SimulatorError(f"{' '.join(command)}\n{done.stderr[:8000]}")


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Nobody else makes this library meanwhile; the lock goes with the process that holds it."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _free_ones(paths: dict[str, Path]) -> Iterator[list[str]]:
    """The sources whose libraries nobody is making; their locks are held."""
    locks, mine = [], []
    try:
        for source, path in paths.items():
            lock = path.with_suffix(".lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine.append(source)
                locks.append(lock)
            except OSError:
                lock.close()
        yield mine
    finally:
        for lock in locks:
            lock.close()
