"""Files with random damage: read, or refused by one error that names them; nothing else happens.

New files in every session: MINIDL_TEST_SEED repeats one, MINIDL_FUZZ_FILES=5000 draws so many of
each format.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.files.guarded import Outcome, jobs_of, run
from tests.files.readers import READERS
from tests.layers.harness import SEED

COUNT = int(os.environ.get("MINIDL_FUZZ_FILES", "150"))

READS_ON = {"steps"}
"""Readers that give what is whole and refuse nothing."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits and /proc as Linux has them"
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    jobs = jobs_of(READERS, SEED, COUNT)
    return dict(zip(READERS, run(jobs, tmp_path_factory.mktemp("fuzz")), strict=True))


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, outcomes: dict[str, Outcome]) -> None:
    print(f"MINIDL_TEST_SEED={SEED}")  # pytest shows it where a reader fails
    found = outcomes[name]
    assert found.wrong == ""
    assert found.refused + found.read == COUNT
    assert found.refused > COUNT // 20 or name in READS_ON
    assert found.refused == 0 or name not in READS_ON
