"""The process of a phase: it runs cases, and writes a row the moment that one is known.

A case that raises costs itself. One after which the CUDA context is past use ends the process with
STICKY, and the runner starts another behind it. `--only` is a pattern searched in "phase case".
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.gpu.rows import (
    ENVIRONMENT,
    FAULTS,
    LEFT_OUT,
    PASSED,
    ROWS,
    Row,
    Tail,
    error,
    note,
    same_place,
    with_facts,
)

T = TypeVar("T", bound=Hashable)
STICKY, NOT_STARTED = 3, 4
"""Exit statuses: the context is lost; the phase failed before or between its cases."""
GPU = "benchmarks.gpu.machine"


@dataclass(frozen=True)
class Settings:
    """What all processes of a run have in common."""

    part: str
    """The module that has PHASES and `table`."""
    out: str
    machine: str = GPU
    """The module that gives the device and the engines beside it: a GPU's, or a stand-in's."""
    only: str = ""
    seed: int = 0
    silence: float = 0
    """Seconds without a row after which a case hangs; 0: as each case says."""
    scratch: str = ""
    """A folder for files between processes, which is gone afterwards."""
    begin: int = 0
    """The byte of rows.jsonl at which this run begins."""
    earlier: str = ""
    """A folder of results: what passed in it, on this card at this commit, is not run again."""
    data: str = ""
    """Where the images of a part that trains are."""

    @property
    def folder(self) -> Path:
        return Path(self.out)

    def dumps(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Phase:
    """Cases that are run by one process, or shared by several."""

    name: str
    work: str
    """Its function of a Worker, as `module:function`: imported in its own process only."""
    most: float
    """Share of the whole time that it may take."""
    least: float = 0.0
    """Share that the phases before have to leave to it."""
    workers: int = 1
    silence: float = 30
    """Seconds without a row after which a process hangs; a case can ask for more."""
    needs: str = ""
    """A case that must have passed, else the phase is left out."""


class CaseLeftOutError(Exception):
    """A case that this machine cannot run; the message says why."""


class CaseDiedError(Exception):
    """A case whose own process ended in its midst; the message says how."""


class Worker:
    """One process of a phase."""

    def __init__(self, settings: Settings, phase: Phase, index: int, of: int, stop: float) -> None:
        self.settings, self.phase, self.index, self.of = settings, phase, index, of
        self.stop = stop
        self.out = settings.folder
        self.before = Tail(self.out / ROWS, settings.begin).new()
        """The rows of this run so far."""
        mine = (row for row in self.before if row["phase"] == phase.name and "case" in row)
        self.done = {row["case"]: row["result"] for row in mine}
        self.earlier = self._earlier()
        self._device: Any = None

    def _earlier(self) -> dict[str, Row]:
        """By case: what need not be run again, as it passed in an earlier run of the same place."""
        if not self.settings.earlier or self.phase.name == ENVIRONMENT:
            return {}
        *_, last = [{}, *with_facts(self.before)]
        here, path = last.get("facts", {}), Path(self.settings.earlier) / ROWS
        whose = self.settings.part, self.phase.name, PASSED
        return {
            row["case"]: {name: value for name, value in row.items() if name != "facts"}
            for row in with_facts(Tail(path).new())
            if (row["part"], row["phase"], row["result"]) == whose
            and same_place(here, row["facts"])
        }

    @property
    def found(self) -> list[Row]:
        """The rows of this run so far, and what is taken from an earlier one."""
        return [*self.earlier.values(), *self.before]

    @property
    def machine(self) -> Any:
        """The module of the device and of the engines beside it."""
        return importlib.import_module(self.settings.machine)

    @property
    def device(self) -> Any:
        """The device of this process, made when it is first asked for."""
        if self._device is None:
            self._device = self.machine.device()
        return self._device

    def wants(self, name: str) -> bool:
        return re.search(self.settings.only, f"{self.phase.name} {name}") is not None

    def mine(
        self,
        things: Sequence[T],
        name: Callable[[T], str],
        group: Callable[[T], Hashable] = lambda thing: thing,
        counted: bool = True,
    ) -> list[T]:
        """Of all things whose case is wanted, this worker's; those of a group stay together.
        counted: they are all the cases of the phase, whose number the table names."""
        names = list(map(name, things))
        if len(set(names)) < len(names):
            twice = next(each for i, each in enumerate(names) if each in names[:i])
            raise ValueError(f"two cases have the name {twice!r}: the second would not be run")
        wanted = [thing for thing in things if self.wants(name(thing))]
        if self.index == 0 and counted:
            self.note({"expected": len(wanted)})
        groups = list(dict.fromkeys(map(group, wanted)))
        own = set(groups[self.index :: self.of])
        return [thing for thing in wanted if group(thing) in own]

    def run(self, name: str, work: Callable[[], Row | None], silence: float = 0) -> bool:
        """Run a case, unless a process before this one did; False where it was found at fault.

        `work` returns what its row says; "wrong" in it makes it one. `silence`: the seconds that
        it may take, where that is more than the phase's.
        """
        if name in self.done:
            return self.done[name] not in FAULTS
        if name in self.earlier:
            self.done[name] = PASSED
            self.note(self.earlier[name] | {"worker": self.index, "earlier": True})
            return True
        if time.time() > self.stop:
            self.note({"case": name, "result": LEFT_OUT, "why": "no time left"})
            sys.exit(0)
        silence = self.settings.silence or max(silence, self.phase.silence)
        self.note({"begin": name, "silence": silence})
        begin = time.time()
        row = self._row(name, work)
        row = {"case": name, "s": round(time.time() - begin, 3), **row}
        self.done[name] = row["result"]
        if row["result"] in FAULTS and not self._alive():
            row["result"] = "sticky"
            self.note(row)
            os._exit(STICKY)  # a lost context may not let the interpreter end
        self.note(row)
        return row["result"] not in FAULTS

    def _row(self, name: str, work: Callable[[], Row | None]) -> Row:
        try:
            found = work() or {}
            if self._device is not None:
                self._device.synchronize()  # what this case broke must not be the next one's fault
            wrong = found.pop("wrong", "")
            return (
                {**found, "result": "wrong", "why": wrong} if wrong else found | {"result": PASSED}
            )
        except CaseLeftOutError as reason:
            return {"result": LEFT_OUT, "why": str(reason)}
        except CaseDiedError as how:
            return {"result": "died", "why": str(how)}
        except KeyboardInterrupt:
            raise
        except BaseException:  # pytest's own exceptions and SystemExit are failures of a case too
            return {"result": "failed", "why": error(self.out, f"{self.phase.name} {name}")}
        finally:
            gc.collect()  # a failed case must not keep its memory

    def _alive(self) -> bool:
        """Whether the device still does what it is told."""
        if self._device is None:
            return True
        try:
            memory = self._device.allocate(1024, 256)
            self._device.fill(memory, 0, 1024, 0x3C)
            return bool((self._device.read(memory, 0, 1024) == 0x3C).all())
        except Exception:
            error(self.out, f"{self.phase.name}: the device no longer answers")
            return False

    def note(self, row: Row) -> None:
        place = {"part": self.settings.part, "phase": self.phase.name, "worker": self.index}
        note(self.out, {**place, **row})


def _end_with_parent() -> None:
    """Have the kernel end this process when the runner is killed (Linux: PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    """What the runner starts, with SETTINGS PHASE INDEX OF STOP as arguments."""
    _end_with_parent()
    settings = Settings(**json.loads(sys.argv[1]))
    index, of, stop = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    os.environ["MINIDL_TEST_SEED"] = str(settings.seed)
    phases = {phase.name: phase for phase in importlib.import_module(settings.part).PHASES}
    phase = phases[sys.argv[2]]
    where = {"part": settings.part, "phase": phase.name, "worker": index}
    try:
        module, _, function = phase.work.partition(":")
        work = getattr(importlib.import_module(module), function)
        work(Worker(settings, phase, index, of, stop))
    except Exception:
        why = error(settings.folder, f"{phase.name}: outside of its cases")
        note(settings.folder, {**where, "case": "(start)", "result": "failed", "why": why})
        sys.exit(NOT_STARTED)
