"""What a run shows where nobody watches a bar: its first step, then lines at times that grow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from minidl import console
from minidl.train import Progress, Trainer, progress
from tests.train.small import compiled, training, validation

EPOCHS = 3
STEP = compiled()


class Clock:
    """Time that passes by a second whenever a step is done."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 100.0, seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made, on_step_end = Clock(4.0), Progress.on_step_end

    def step_end(self: Progress, trainer: Any) -> None:
        made.now += made.seconds
        on_step_end(self, trainer)

    monkeypatch.setattr(Progress, "on_step_end", step_end)
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.setattr(console, "PATIENCE", 1.0)
    return made


def lines(capsys: pytest.CaptureFixture[str], **how: Any) -> list[str]:
    """Which steps, and which epochs, are told of."""
    Trainer(STEP, **how).fit(training(), validation(), EPOCHS)
    said = capsys.readouterr().out
    return [w.replace("  step ", ":") for w in re.findall(r"epoch (\d/\d(?:  step \d+)?)", said)]


def test_the_first_step_and_then_after_times_that_grow(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps of 4 s, six an epoch: at 4 s, and the first after 10, 20, 40 s; the next is 80 s."""
    expected = ["1/3:1", "1/3:3", "1/3:5", "1/3", "2/3:4", "2/3", "3/3"]
    assert lines(capsys) == expected
    clock.seconds = 0.0
    assert lines(capsys) == ["1/3:1", "1/3", "2/3", "3/3"]
    clock.seconds = 1000.0
    steps = [f"{e}/3:{s}" for e in (1, 2, 3) for s in range(1, 7)]
    assert [line for line in lines(capsys) if ":" in line] == steps


def test_print_freq_is_the_users(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    inside = ["{}/3:3", "{}/3:6", "{}/3"]
    expected = [line.format(epoch) for epoch in (1, 2, 3) for line in inside]
    assert lines(capsys, print_freq=3) == ["1/3:1", *expected]
    assert lines(capsys, quiet=True) == []


def test_a_step_in_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    Trainer(STEP).fit(training(), validation(), 1)
    first, second, *_ = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d{4}"
    assert re.fullmatch(rf"  epoch 1/1  step 1/6  loss {number}  learning rate 0\.05", first)
    assert re.fullmatch(
        rf"  epoch 1/1  step 3/6  loss {number}  learning rate 0\.05  1 images/s", second
    )


def test_a_run_that_was_done_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        made = Trainer(
            STEP, output_dir=tmp_path, resume=tmp_path if list(tmp_path.iterdir()) else None
        )
        made.fit(training(), validation(), 1)
    out = capsys.readouterr().out
    assert out.endswith("finished: all 1 epochs are done; more epochs (--epochs) train longer\n")
    assert out.count("epoch 1/1  loss") == 1


def test_waits_end_with_whatever_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is told of meanwhile is closed where the first batch cannot be read, or validation
    fails."""
    open_ones: list[str] = []

    class Wait:
        def __init__(self, words: str, *_: float) -> None:
            self.words = words

        def __enter__(self) -> None:
            open_ones.append(self.words)

        def __exit__(self, *_: object) -> None:
            open_ones.remove(self.words)
            ended.append(self.words)

    ended: list[str] = []
    monkeypatch.setattr(progress, "waiting", Wait)

    class Broken:
        def __len__(self) -> int:
            return 2

        def epoch(self, epoch: int, start: int = 0) -> Any:
            raise OSError("it is gone")

    for train, val in ((Broken(), None), (training(), Broken())):
        with pytest.raises(OSError, match="gone"):
            Trainer(STEP).fit(train, val, 1)
        assert open_ones == []
    assert ended == ["reading the first batch", "reading the first batch", "validating"]
