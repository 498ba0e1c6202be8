"""What an epoch costs when many came before it, and the history that checkpoints keep."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minidl.ir import ArgumentError, Array, CheckpointError
from minidl.train import Epoch, History, State, checkpoint, report
from minidl.train.checkpoint import opened, read, save
from minidl.train.history import packed, unpacked
from tests.train.small import compiled

VALUES = (None, 0.0, -0.0, 0.1, 1 / 3, 5e-324, math.inf, -math.inf, math.nan)


def history(epochs: int, seed: int = 0) -> History:
    """Epochs with any numbers, and None where there may be none."""
    r = random.Random(seed)
    measured = [r.choice(VALUES) for _ in range(7)]
    return History(
        [
            Epoch(i + 1, 3 * i, r.random(), 0.1, *r.sample(measured, 6), speed=r.random())
            for i in range(epochs)
        ]
    )


@pytest.mark.parametrize("epochs", [0, 1, 2, 40])
@pytest.mark.parametrize("seed", range(5))
def test_a_history_comes_back_to_the_bit(epochs: int, seed: int, tmp_path: Path) -> None:
    before = history(epochs, seed)
    _, state = read(save(tmp_path, compiled(), State(steps=1, history=before.rows())))
    after = History.of(state.history)
    assert repr(after.rows()) == repr(before.rows())  # tells -0.0 from 0.0, and NaN is NaN
    assert "history" not in state.arrays


def test_numbers_take_eight_bytes() -> None:
    columns = packed(history(1000).rows())
    assert {array.dtype.itemsize for array in columns.values()} == {1, 8}
    assert columns["epoch"].dtype == np.int64


WRONG: dict[str, tuple[dict[str, Array], str]] = {
    "lengths": ({"epoch": np.arange(3), "loss": np.zeros(2)}, r"shapes \[\(2,\), \(3,\)\]"),
    "a matrix": ({"epoch": np.zeros((2, 2))}, r"shapes \[\(2, 2\)\]"),
    "no axis": ({"epoch": np.zeros(())}, r"shapes \[\(\)\]"),
    "float32": ({"loss": np.zeros(2, np.float32)}, "its loss is float32"),
    "no mask": ({"loss": np.zeros(2), "loss missing": np.zeros(2)}, "loss missing is float64"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_history_is_refused(what: str, tmp_path: Path) -> None:
    columns, said = WRONG[what]
    with pytest.raises(ArgumentError, match=said):
        unpacked(columns)
    path = save(tmp_path, compiled(), State(steps=1, arrays={"history": columns}))
    with pytest.raises(CheckpointError, match=rf"{path.name}: its state .*{said}"):
        read(path)


def test_a_history_of_the_first_format_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = history(3)
    state, to_json = State(steps=1, history=before.rows()), checkpoint._to_json
    rows = f'"format": 1, "history": {checkpoint.json.dumps(state.history)}'
    monkeypatch.setattr(
        checkpoint, "_to_json", lambda *how: to_json(*how).replace('"format": 2', rows)
    )
    monkeypatch.setattr(checkpoint, "packed", lambda rows: {})
    save(tmp_path, compiled(), state)
    assert History.of(opened(tmp_path).state.history).rows().__repr__() == repr(before.rows())


def test_the_state_in_words_does_not_grow(tmp_path: Path) -> None:
    step = compiled()
    words = [
        checkpoint._to_json(step, State(steps=1, history=history(n).rows())) for n in (1, 1000)
    ]
    assert words[0] == words[1]


# -- the page ----------------------------------------------------------------------------------


class Clock:
    """Time that passes when it is told to; a page takes as long as it has epochs."""

    def __init__(self) -> None:
        self.now, self.epoch_takes, self.rows = 0.0, 1.0, 0

    def perf_counter(self) -> float:
        return self.now

    def page(self, shown: History) -> str:
        self.now += len(shown)
        self.rows += len(shown)
        return f"{len(shown)} epochs"


def reported(
    epochs: int,
    epoch_takes: float,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    ended: bool = False,
) -> tuple[Clock, list[int]]:
    """A page's clock, and after each epoch how many epochs the page has; in the end it has all.
    ended: by an error or Ctrl-C."""
    clock, seen = Clock(), []
    monkeypatch.setattr(report, "time", clock)
    monkeypatch.setattr(report, "curves_section", clock.page)
    plan = SimpleNamespace(to_html=lambda more: more)
    run: Any = SimpleNamespace(
        step=SimpleNamespace(plan=plan), history=History(), output_dir=folder, stop=""
    )
    callback = report.Report()
    callback.on_fit_begin(run)
    for row in history(epochs).epochs:
        clock.now += epoch_takes
        run.history.epochs.append(row)
        callback.on_epoch_end(run)
        seen.append(int((folder / "report.html").read_text().split()[0]))
    (callback.on_exit if ended else callback.on_fit_end)(run)
    assert (folder / "report.html").read_text() == f"{epochs} epochs"
    return clock, seen


def test_a_page_is_never_a_twentieth_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seen = reported(1000, 1e-6, tmp_path, monkeypatch)
    assert seen[:20] == list(range(1, 21))
    assert all(20 * (done + 1 - shown) <= max(20, done) for done, shown in enumerate(seen))
    twice, _ = reported(2000, 1e-6, tmp_path, monkeypatch)
    assert twice.rows < 2.2 * clock.rows


def test_where_epochs_take_longer_than_pages_each_is_shown_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, seen = reported(100, 2000.0, tmp_path, monkeypatch)
    assert seen == list(range(1, 101))


def test_whatever_ends_a_run_the_page_has_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, seen = reported(59, 1e-6, tmp_path, monkeypatch, ended=True)
    assert seen[-1] < 59
    report.Report().on_exit(SimpleNamespace())  # type: ignore[arg-type]  # of a run that never began
