"""A part for the runner's own tests: cases that end in every way that there is, and no GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from benchmarks.gpu.rows import Row
from benchmarks.gpu.worker import CaseLeftOutError, Phase, Worker


def device() -> Device:
    return Device()


class Device:
    """Memory that is lost once `lost` was set."""

    lost = False

    def synchronize(self) -> None:
        pass

    def allocate(self, nbytes: int, alignment: int) -> None:
        if self.lost:
            raise RuntimeError("the context is lost")

    def fill(self, memory: None, offset: int, nbytes: int, value: int) -> None:
        pass

    def read(self, memory: None, offset: int, nbytes: int) -> Value:
        return Value()


class Value:
    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return self

    def all(self) -> bool:
        return True


def hang() -> None:
    """Forever, with a process of its own that would outlive it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("left behind", child.pid, flush=True)
    time.sleep(600)


def every_way(worker: Worker) -> None:
    def fail() -> None:
        raise ValueError("no such number")

    def wrong() -> Row:
        return {"error": 2.0, "wrong": "twice as much"}

    def lose() -> None:
        worker.device.lost = True
        raise RuntimeError("cudaErrorIllegalAddress")

    def leave_out() -> None:
        raise CaseLeftOutError("nothing to do it with")

    ways = {
        "first": dict,
        "fails": fail,
        "wrong": wrong,
        "exits": lambda: sys.exit(9),
        "hangs": hang,
        "loses": lose,
        "dies": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "left": leave_out,
        "last": lambda: {"value": 1},
    }
    for name in worker.mine(list(ways), str):
        worker.run(name, ways[name])


def shared(worker: Worker) -> None:
    for name in worker.mine([f"{i}" for i in range(8)], str):
        worker.run(name, dict)


def slow(worker: Worker) -> None:
    for name in worker.mine(["quick", "slow", "later"], str):
        worker.run(name, lambda name=name: time.sleep(600 if name == "slow" else 0))  # type: ignore[misc]


def broken(worker: Worker) -> None:
    if worker.wants("start"):
        raise RuntimeError("no case was run")


def vanishing(worker: Worker) -> None:
    if worker.wants("start"):
        os._exit(7)


PHASES = (
    Phase("ways", f"{__name__}:every_way", most=0.8),
    Phase("shared", f"{__name__}:shared", most=0.2, workers=3, needs="first"),
    Phase("broken", f"{__name__}:broken", most=0.2),
    Phase("vanishing", f"{__name__}:vanishing", most=0.2),
    Phase("needy", f"{__name__}:shared", most=0.2, needs="fails"),
    Phase("slow", f"{__name__}:slow", most=0.1),
)


def table(rows: list[Row]) -> str:
    return "".join(
        f"{row['phase']} {row['case']} {row['result']}\n" for row in rows if "case" in row
    )
