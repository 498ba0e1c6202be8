"""The runner of measurements: a case costs itself alone, and there is a table whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import rows as results
from benchmarks.gpu.rows import Row, Tail, error, note
from benchmarks.gpu.worker import Settings

ROOT = Path(__file__).parents[2]
TOY = "tests.simulator.toy_part"
PROGRAM = """
import sys
from benchmarks.gpu.runner import run_part
from benchmarks.gpu.worker import Settings
import json
sys.exit(run_part(Settings(**json.loads(sys.argv[1])), float(sys.argv[2]), 4))
"""


def start(out: Path, only: str, seconds: float, silence: float = 0) -> subprocess.Popen[str]:
    settings = Settings(part=TOY, out=str(out), machine=TOY, only=only, silence=silence)
    command = [sys.executable, "-c", PROGRAM, settings.dumps(), str(seconds)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )


def run(out: Path, only: str, seconds: float = 60, silence: float = 0) -> tuple[int, list[str]]:
    """The status and the lines of the table."""
    with start(out, only, seconds, silence) as process:
        text, _ = process.communicate(timeout=120)
    return process.returncode, text.splitlines()


def is_there(pid: int) -> bool:
    """Whether a process runs; one that is dead and not waited for does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


def gone(pid: int) -> bool:
    for _ in range(200):
        if not is_there(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_case_costs_itself_alone(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "ways|shared|broken|vanishing|needy", silence=1)
    ways = [line.split(maxsplit=1)[1] for line in lines if line.startswith("ways ")]
    assert ways == [
        "first passed",
        "fails failed",
        "wrong wrong",
        "exits failed",
        "hangs hung",
        "loses sticky",
        "dies died",
        "left left out",
        "last passed",
    ]
    shared = [line for line in lines if line.startswith("shared ")]
    assert sorted(shared) == [f"shared {i} passed" for i in range(8)]
    assert "broken (start) failed" in lines
    assert [line for line in lines if line.startswith("vanishing")] == [
        "vanishing (start 1 of worker 0) died",
        "vanishing (start 2 of worker 0) died",
    ]
    assert "needy (all) left out" in lines
    assert status == 1
    found = [json.loads(line) for line in (tmp_path / results.ROWS).read_text().splitlines()]
    why = {row["case"]: row.get("why") for row in found if "case" in row}
    assert why["fails"] == "ValueError: no such number"
    assert why["wrong"] == "twice as much"
    assert why["hangs"] == "nothing for 1 s"
    assert why["dies"] == "signal SIGSEGV"
    assert "no such number" in (tmp_path / results.ERRORS).read_text()
    (left,) = re.findall(r"left behind (\d+)", (tmp_path / results.LOG).read_text())
    assert gone(int(left))
    assert {path.name for path in tmp_path.iterdir()} == {
        *(results.ROWS, results.ERRORS, results.LOG, results.TABLE)
    }


def test_out_of_time_there_is_a_table(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "slow|shared", seconds=20)
    assert lines[-2:] == ["slow quick passed", "slow slow left out"]
    assert status == 0
    again = run(tmp_path, "shared", seconds=20)[1]  # a later run into the same folder
    assert "slow slow left out" not in again
    text = (tmp_path / results.TABLE).read_text()
    assert text.count("slow slow left out") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_there_is_a_table(tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "ways (first|hangs)", 60)
    child = _pid_that_hangs(tmp_path)
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    assert "ways first passed" in text
    assert process.returncode == 130
    assert gone(child)


def test_killed_nothing_runs_on(tmp_path: Path) -> None:
    process = start(tmp_path, "slow", 300)
    for _ in range(400):
        text = (tmp_path / results.ROWS).read_text() if (tmp_path / results.ROWS).exists() else ""
        if '"begin": "slow"' in text:
            break
        time.sleep(0.05)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    assert gone(int(child))


def _pid_that_hangs(out: Path) -> int:
    for _ in range(400):
        log = out / results.LOG
        found = re.findall(r"left behind (\d+)", log.read_text()) if log.exists() else []
        if found:
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError("the case never began")


def test_rows_stay_whole_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = Tail(tmp_path / results.ROWS)
    assert tail.new() == []
    row: Row = {"phase": "p", "case": "c", "ops": ["x" * 1000] * 1000, "result": "passed"}
    assert note(tmp_path, row)
    (found,) = tail.new()
    assert found == {"phase": "p", "case": "c", "result": "passed", "cut": ["ops"]}
    with (tmp_path / results.ROWS).open("a") as file:
        file.write('{"case": "half')
    assert tail.new() == []
    with (tmp_path / results.ROWS).open("a") as file:
        file.write(' a line"}\nno row\n')
    assert tail.new() == [{"case": "half a line"}]
    monkeypatch.setattr(results, "LARGEST", (tmp_path / results.ROWS).stat().st_size + 20)
    assert not note(tmp_path, {"case": "one too many"})


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (AssertionError(), "AssertionError"),
        (
            ValueError("refused\nx.cu(3): error: no type\nx.cu(4): error: more"),
            "ValueError: refused | x.cu(3): error: no type",
        ),
    ],
)
def test_an_error_is_kept_and_said_short(tmp_path: Path, raised: Exception, said: str) -> None:
    try:
        raise raised
    except Exception:
        assert error(tmp_path, "here") == said
    assert "==== here\nTraceback" in (tmp_path / results.ERRORS).read_text()
