"""The tests of one fault, in a copy of the tree."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.mutations.faults import Fault, with_fault

Outcome = Literal["killed", "timed out", "survived", "gone", "red"]
"""Gone: the tree has no such statement any more. Red: the test fails without the fault as well."""

LEFT_BEHIND = (".*", "build", "dist", "*.egg-info", "__pycache__", "results")
LIMITS = 'ulimit -c 0; ulimit -v "$1"; ulimit -t "$2"; shift 2; exec "$@"'
FLAGS = ("-q", "-x", "-rfE", "--tb=short", "-p", "no:cacheprovider", "--hypothesis-seed=0")
SUMMARY = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.M)

GREEN, NO_TESTS = 0, 5
"""What pytest exits with."""


@dataclass(frozen=True)
class Limits:
    """Of one run of tests: seconds on the clock and of a core, and GiB of address space."""

    seconds: float
    cpu_seconds: float
    memory: float = 12


@dataclass(frozen=True)
class Trial:
    """What came of it: the test that failed and what it said; seconds on the clock."""

    outcome: Outcome
    test: str = ""
    by: str = ""
    seconds: float = 0
    cpu_seconds: float = 0


class StoppedError(Exception):
    """Somebody wants to end before the tests did."""


class Tree:
    """A copy of the tree in which one fault at a time is made."""

    def __init__(self, root: Path, slow: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mutations-"))
        self.root = self._folder / "tree"
        shutil.copytree(root, self.root, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
        self._flags = (*FLAGS, "-m", "") if slow else FLAGS
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        self._stopped.set()
        running = self._running
        if running is not None:
            _end(running)

    def trial(self, fault: Fault, known: str, tests: list[str], limits: Limits) -> Trial:
        """Make the fault, run `known`, a test that found it once, and then all that are named.

        The test that fails must not fail without the fault.
        """
        path = self.root / fault.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        changed = with_fault(text, fault)
        if changed is None:
            return Trial("gone")
        self._write(path, changed)
        try:
            there = known and (self.root / known.split("::")[0]).exists()
            trial = self.run([known], limits) if there else Trial("survived")
            if trial.outcome == "survived" or not trial.test:
                trial = self._search(tests, limits)
        finally:
            self._write(path, text)
        if trial.test and self.run([trial.test], limits).outcome != "survived":
            return replace(trial, outcome="red")
        return trial

    def _search(self, tests: list[str], limits: Limits) -> Trial:
        """Run the tests; one that fails, and not again by itself, is left out and all run anew."""
        flaky: list[str] = []
        while True:
            trial = self.run([*tests, *(f"--deselect={test}" for test in flaky)], limits)
            if not trial.test or self.run([trial.test], limits).outcome != "survived":
                return trial
            flaky.append(trial.test)

    def _write(self, path: Path, text: str) -> None:
        """A file of the same size and second would be taken for the one compiled before."""
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
        path.write_text(text, encoding="utf-8")

    def run(self, tests: list[str], limits: Limits) -> Trial:
        """The tests in the tree as it is."""
        for left in (self.root / ".hypothesis", self._folder / "tmp"):
            shutil.rmtree(left, ignore_errors=True)
        output = self._folder / "output"
        numbers = (str(int(limits.memory * 2**20)), str(int(limits.cpu_seconds)))
        pytest = (
            sys.executable,
            "-m",
            "pytest",
            *self._flags,
            f"--basetemp={self._folder / 'tmp'}",
        )
        command = ("sh", "-c", LIMITS, "limits", *numbers, *pytest, *tests)
        environment = {k: v for k, v in os.environ.items() if k != "MINIDL_NO_SKIPS"}
        environment["PYTHONPATH"] = str(self.root)
        start = time.monotonic()
        with output.open("wb") as file:
            self._running = subprocess.Popen(
                command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        code, cpu_seconds = self._wait(self._running, start + limits.seconds)
        self._running = None
        if self._stopped.is_set():
            raise StoppedError
        said = output.read_text(encoding="utf-8", errors="replace")
        if code == NO_TESTS:
            raise RuntimeError(f"pytest found no test in {' '.join(tests)}:\n{said[-2000:]}")
        outcome = _outcome(code)
        test, by = _failed(said) if outcome == "killed" else ("", "")
        seconds = round(time.monotonic() - start, 1)
        return Trial(outcome, test, by, seconds, round(cpu_seconds, 1))

    def _wait(self, process: subprocess.Popen[bytes], end: float) -> tuple[int | None, float]:
        """Its exit code, None where it ran past `end`, and the seconds of a core it took."""
        late = False
        while True:
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
            if found:
                process.returncode = os.waitstatus_to_exitcode(status)
                _end(process)
                seconds = usage.ru_utime + usage.ru_stime
                return (None if late else process.returncode), seconds
            if not late and (time.monotonic() > end or self._stopped.is_set()):
                late = True
                _end(process)
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _outcome(code: int | None) -> Outcome:
    if code == GREEN:
        return "survived"
    return "timed out" if code in (None, -signal.SIGXCPU, -signal.SIGKILL) else "killed"


def _failed(said: str) -> tuple[str, str]:
    """The first test that failed, with its reason; no test and the last line where none began."""
    found = SUMMARY.search(said)
    if found is None:
        return "", (said.strip().splitlines() or ["no output"])[-1][:300]
    return found[1], (found[2] or "")[:300]
