"""Run phases in processes of their own, so that a case costs itself alone, and time is shared.

A process that dies, or that is silent for too long, is ended with all that it started; the case
that it was at has a row that says so, and another process goes on behind it. When time runs out, or
at Ctrl-C or SIGTERM, what is known so far is a table.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from benchmarks.gpu.rows import FAULTS, LARGEST, LEFT_OUT, LOG, PASSED, ROWS, TABLE, Row, Tail, note
from benchmarks.gpu.worker import NOT_STARTED, STICKY, Phase, Settings

ROOT = Path(__file__).parents[2]
ENTRY = "from benchmarks.gpu.worker import main; main()"
GRACE = 2.0
"""Seconds that a case under way is given beyond its phase's end."""
PATIENCE = 10.0
"""Seconds for a killed process to be gone."""
ENDED = 130
"""The status of a run that was ended from outside."""
TRIES = 2
"""Starts in a row that may fail before any case begins."""


class Child:
    """A worker's process, and what was heard of it."""

    def __init__(self, settings: Settings, phase: Phase, index: int, of: int, stop: float) -> None:
        self.phase, self.index, self.fruitless = phase, index, 0
        command = [sys.executable, "-c", ENTRY, settings.dumps(), phase.name]
        self.command = [*command, str(index), str(of), str(stop)]
        self.log = settings.folder / LOG
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )
        self.heard, self.silence = time.time(), max(60.0, self.phase.silence)
        self.at: str | None = None

    def hear(self, row: Row) -> None:
        self.heard = time.time()
        if "begin" in row:
            self.at, self.silence, self.fruitless = row["begin"], row["silence"], 0
        elif row.get("case") == self.at:
            self.at, self.silence = None, max(60.0, self.phase.silence)

    @property
    def ended(self) -> bool:
        """Whether the process is over; it is not yet waited for, so its number is still its own."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, how) is not None

    @property
    def hangs(self) -> bool:
        return time.time() - self.heard > self.silence

    def end(self) -> int:
        """Kill it with all that it started; its status. A driver that hangs may hold a process that
        is killed: it is not waited for long."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL


class Run:
    """All phases of a part within a number of seconds."""

    def __init__(self, settings: Settings, seconds: float, cores: int) -> None:
        self.settings, self.seconds, self.cores = settings, seconds, cores
        self.begin = time.time()
        self.tail = Tail(settings.folder / ROWS, settings.begin)
        self.rows: list[Row] = []
        self.children: list[Child] = []

    def phases(self, phases: Sequence[Phase], show: Callable[[], object]) -> None:
        """One after the other; each leaves to those behind it what they need at least."""
        for i, phase in enumerate(phases):
            later = sum(p.least for p in phases[i + 1 :]) * self.seconds
            left = self.begin + self.seconds - time.time() - later
            stop = time.time() + min(phase.most * self.seconds, left)
            if phase.needs and not any(
                row.get("case") == phase.needs and row["result"] == PASSED for row in self.rows
            ):
                self.left_out(phase, f"needs {phase.needs!r}, which did not pass")
            elif stop <= time.time():
                self.left_out(phase, "no time left")
            else:
                self.drive(phase, stop)
            show()

    def left_out(self, phase: Phase, why: str) -> None:
        self.note(phase, 0, {"case": "(all)", "result": LEFT_OUT, "why": why})

    def drive(self, phase: Phase, stop: float) -> None:
        """Run a phase's processes until they are through, or until `stop`."""
        of = max(1, min(phase.workers, self.cores))
        for i in range(of):
            self.children.append(Child(self.settings, phase, i, of, stop))
        while self.children:
            time.sleep(0.05)
            ended = [child for child in self.children if child.ended]
            self.listen()
            over = time.time() > stop + GRACE or self.tail.at > LARGEST
            for child in list(self.children):
                if child in ended:
                    self.after(child, child.end(), stop)
                elif over:
                    self.cut_off(child)
                elif child.hangs:
                    child.end()
                    self.listen()
                    self.blame(child, "hung", f"nothing for {child.silence:.0f} s", stop)
            self.trim_log()

    def listen(self) -> None:
        for row in self.tail.new():
            self.rows.append(row)
            for child in self.children:
                if (row["phase"], row["worker"]) == (child.phase.name, child.index):
                    child.hear(row)

    def after(self, child: Child, status: int, stop: float) -> None:
        """What is to be done where a process has ended by itself."""
        if status in (0, NOT_STARTED):
            self.children.remove(child)
        elif status == STICKY and child.at is None:
            self.restart(child, stop)
        else:
            why = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            self.blame(child, "died", why, stop)

    def blame(self, child: Child, result: str, why: str, stop: float) -> None:
        """The case that a process was at is at fault, or, where there is none, its start."""
        child.fruitless += child.at is None
        name = child.at or f"(start {child.fruitless} of worker {child.index})"
        self.note(child.phase, child.index, {"case": name, "result": result, "why": why})
        self.restart(child, stop)

    def restart(self, child: Child, stop: float) -> None:
        if time.time() < stop - GRACE and child.fruitless < TRIES:
            child.start()
        else:
            self.children.remove(child)

    def cut_off(self, child: Child) -> None:
        child.end()
        self.listen()
        self.children.remove(child)
        why = "cut off: the phase's time was over"
        name = child.at or f"(worker {child.index})"
        self.note(child.phase, child.index, {"case": name, "result": LEFT_OUT, "why": why})

    def end(self) -> None:
        """Leave no process behind."""
        for child in self.children:
            child.end()
        self.listen()
        self.children = []

    def note(self, phase: Phase, worker: int, row: Row) -> None:
        where = {"part": self.settings.part, "phase": phase.name, "worker": worker}
        note(self.settings.folder, {**where, **row})
        self.listen()

    def trim_log(self) -> None:
        log = self.settings.folder / LOG
        if log.exists() and log.stat().st_size > LARGEST:
            os.truncate(log, 0)


def run_part(settings: Settings, seconds: float, cores: int) -> int:
    """Run a part's phases and print its table; 1: a fault was found; 130: it was ended."""
    part = importlib.import_module(settings.part)
    settings.folder.mkdir(parents=True, exist_ok=True)
    rows, path = settings.folder / ROWS, settings.folder / TABLE
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    begin = rows.stat().st_size if rows.exists() else 0
    with tempfile.TemporaryDirectory() as scratch, _interruptible():
        run = Run(replace(settings, begin=begin, scratch=scratch), seconds, cores)

        def show() -> str:
            text: str = part.table(run.rows)
            path.write_text(before + text, encoding="utf-8")
            return text

        ended = False
        try:
            run.phases(part.PHASES, show)
        except KeyboardInterrupt:
            ended = True
        run.end()
        print(show(), end="", flush=True)
    return ENDED if ended else int(any(row.get("result") in FAULTS for row in run.rows))


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does, once: the table is still to be written."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
