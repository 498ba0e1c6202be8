"""Where MINIDL_NO_SKIPS is set, as in CI, a skipped test fails the run."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from minidl import console
from tests.dealing import dealt

console.PATIENCE = 3600.0
"""Lines on waits depend on how busy the machine is."""

os.environ.pop("COLUMNS", None)
"""xdist's; output to files and pipes is not wrapped."""

_skipped: list[str] = []

# A shell that starts the tests in the background has them ignore Ctrl-C, which some press, and
# nohup has them ignore the terminal's end.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests that follow each other stay on one core, which keeps what they share (a trained model,
    a plan, a compiled kernel); a core that has nothing left takes from another's end."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    items[:] = dealt(items, lambda item: item.nodeid, workers)


def pytest_runtest_logreport(report: Any) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("MINIDL_NO_SKIPS") and _skipped:
        print(f"\nskipped where every test must run: {', '.join(_skipped)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
