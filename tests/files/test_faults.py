"""Every reader x every fault: refused by one error that names the file, in bounded time and memory,
with nothing written and nothing run."""

from __future__ import annotations

import sys

import pytest

from tests.files.faults import HARMLESS, LARGE, table
from tests.files.guarded import Job, Outcome, run

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits and /proc as Linux has them"
)

TABLE = table()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Outcome]:
    jobs = [Job(reader, fault=fault) for reader, fault in TABLE]
    return dict(zip(TABLE, run(jobs, tmp_path_factory.mktemp("faults")), strict=True))


@pytest.mark.parametrize(("reader", "fault"), TABLE)
def test_a_fault_is_one_clear_error(
    reader: str, fault: str, outcomes: dict[tuple[str, str], Outcome]
) -> None:
    found = outcomes[reader, fault]
    assert found.wrong == ""
    assert "\n" not in found.said
    assert len(found.said) < 1000
    if fault in LARGE.get(reader, {}):
        assert found.read == 1
    elif (reader, fault) not in HARMLESS:
        assert found.refused == 1
