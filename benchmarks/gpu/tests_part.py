"""The op table, the memory modes bit for bit, and compute-sanitizer on a small step."""

from __future__ import annotations

import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.deadline import Deadline
from tests.layers.harness import Case
from tests.simulator.bench import ERRORS, check_case
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import batches, options
from tests.training import assert_same_bits_in_every_mode

Row = dict[str, Any]
TOOLS = ("memcheck", "racecheck")


def measure(
    device: Any, deadline: Deadline, only: Callable[[str], bool] = lambda _: True
) -> list[Row]:
    """One row a check: passed, failed with what it said, or left out for lack of time."""
    rows = []
    for name, check in checks(device):
        if only(name):
            rows.append(_row(name, check, deadline))
    print(f"tests: {sum(row['result'] == 'passed' for row in rows)} of {len(rows)} passed")
    return rows


def checks(device: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    for name, (_, case) in zip(IDS, TABLE, strict=True):
        for precision in ERRORS:
            yield f"op {name} {precision}", _op(case, precision, device)
    for name in NETWORKS:
        for precision in ERRORS:
            yield f"modes {name} {precision}", _modes(name, precision, device)
    for tool in TOOLS:
        yield f"compute-sanitizer {tool}", _sanitized(tool)


def _op(case: Case, precision: str, device: Any) -> Callable[[], None]:
    return lambda: check_case(case, precision, device)


def _modes(name: str, precision: str, device: Any) -> Callable[[], None]:
    def check() -> None:
        network = NETWORKS[name]()
        how = options(name, device=device, precision=precision)
        assert_same_bits_in_every_mode(network, batches(network), **how)

    return check


class LeftOutError(Exception):
    """A check that this machine cannot make."""


def _sanitized(tool: str) -> Callable[[], None]:
    def check() -> None:
        program = shutil.which("compute-sanitizer")
        if program is None:
            raise LeftOutError("compute-sanitizer is not installed")
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m"]
        done = subprocess.run(
            [*command, "benchmarks.gpu.small_step"],
            capture_output=True,
            text=True,
            timeout=240,
        )
        text = (done.stdout + done.stderr)[-3000:]
        if "not supported" in text:
            raise LeftOutError(text[-300:])
        assert done.returncode == 0, text

    return check


def _row(name: str, check: Callable[[], None], deadline: Deadline) -> Row:
    if deadline.passed:
        return {"check": name, "result": "left out: no time"}
    try:
        check()
    except LeftOutError as reason:
        return {"check": name, "result": f"left out: {reason}"}
    except Exception:
        print(f"FAILED {name}", flush=True)
        return {"check": name, "result": "failed", "error": traceback.format_exc()[-2000:]}
    return {"check": name, "result": "passed"}
