"""Work in several processes: every item once, errors and deaths told."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from minidl.devices.building import in_processes
from minidl.ir import MinidlError


def squared(number: int) -> int:
    return number * number


def dies(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def noted(number: int, folder: Path) -> int:
    if number == 0:
        raise MinidlError("number 0 is refused")
    time.sleep(0.05)
    (folder / str(number)).touch()
    return number


def test_every_item_once() -> None:
    numbers = random.sample(range(1000), 20)
    found = list(in_processes(squared, numbers, 2))
    assert sorted(found) == sorted((n, n * n) for n in numbers)


def test_the_first_error_ends_all(tmp_path: Path) -> None:
    with pytest.raises(MinidlError, match="number 0 is refused"):
        list(in_processes(partial(noted, folder=tmp_path), range(200), 2))
    assert len(list(tmp_path.iterdir())) < 100


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(MinidlError, match="a process that compiles kernels died"):
        list(in_processes(dies, range(5), 2))
