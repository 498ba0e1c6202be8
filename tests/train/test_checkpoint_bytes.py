"""What a checkpoint costs beside the arena, in bytes and in reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

import minidl as dl
from minidl.cli import main
from minidl.files import safetensors
from minidl.train import State, checkpoint, opened, save
from tests.cli.runs import run, trained
from tests.memory import bytes_of

__all__ = ["run"]

WIDTH = 1024


def large() -> dl.Step:
    """Six matrices of 4 MiB with momentum: 48 MiB of variables."""
    layers = [layer for _ in range(6) for layer in (dl.Linear(WIDTH), dl.ReLU())]
    net = dl.Sequential(dl.Input((1, 1, WIDTH)), dl.Flatten(), *layers, dl.Linear(10))
    return dl.compile(net, 1, optimizer=dl.SGD(0.1, 0.9))


STEP = large()
SIZE = sum(STEP.array(name).nbytes for name in STEP.variables)


def test_the_measure_sees_arrays() -> None:
    assert bytes_of(lambda: np.empty(2**20, np.uint8)) >= 2**20


def test_a_save_copies_nothing(tmp_path: Path) -> None:
    """Written from views, read back in pieces; averaged weights too."""
    assert SIZE > 48 * 2**20
    averaged = {"ema": STEP.state_dict()}
    held = bytes_of(lambda: save(tmp_path, STEP, State(steps=1, arrays=averaged)))
    print(f"{held:,} of {SIZE:,} bytes")
    assert held <= 0.1 * SIZE
    variables, state = checkpoint.read(tmp_path / "checkpoint-00000001.safetensors")
    for name in STEP.variables:
        np.testing.assert_array_equal(variables[name], STEP.array(name))
    for name, array in averaged["ema"].items():
        np.testing.assert_array_equal(state.arrays["ema"][name], array)


def test_looking_at_a_checkpoint_holds_none_of_it(tmp_path: Path) -> None:
    path = save(tmp_path, STEP, State(steps=1))
    assert bytes_of(lambda: checkpoint.verify(path)) <= 0.1 * SIZE
    assert bytes_of(lambda: checkpoint.latest(tmp_path)) <= 0.1 * SIZE


def test_a_resume_holds_it_once(tmp_path: Path) -> None:
    save(tmp_path, STEP, State(steps=1))
    found: list[Any] = []
    held = bytes_of(lambda: found.append(checkpoint.load(opened(tmp_path), STEP)))
    assert held <= 1.1 * SIZE


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is opened to be read."""
    count: Counter[str] = Counter()
    right = safetensors.open_file

    def counted(path: Any) -> BinaryIO:
        count[Path(path).name] += 1
        return right(path)

    monkeypatch.setattr(safetensors, "open_file", counted)
    return count


def test_resume_reads_the_file_once(run: Path, tmp_path: Path, reads: Counter[str]) -> None:
    where = trained(tmp_path, "--epochs", "1", data=run.parent / "photos")
    (path,) = checkpoint.found(where)
    reads.clear()
    assert main(["train", "--resume", str(where), "--epochs", "2"]) == 0
    assert reads[path.name] == 1


def test_a_resume_lets_the_arrays_go(run: Path, tmp_path: Path) -> None:
    """While it trains nobody holds what was read."""
    import gc
    import weakref

    from minidl.train.progress import Progress

    where = trained(tmp_path, "--epochs", "1", data=run.parent / "photos")
    held: list[weakref.ref[Any]] = []
    right_read, right_begin = checkpoint.read, Progress.on_epoch_begin
    alive: list[int] = []

    def read(path: Any) -> Any:
        variables, state = right_read(path)
        held.extend(weakref.ref(array) for array in variables.values())
        return variables, state

    def begin(self: Progress, trainer: Any) -> None:
        gc.collect()
        alive.append(sum(ref() is not None for ref in held))
        right_begin(self, trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "read", read)
        patch.setattr(Progress, "on_epoch_begin", begin)
        assert main(["train", "--resume", str(where), "--epochs", "2"]) == 0
    assert held
    assert alive == [0]
