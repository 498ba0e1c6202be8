"""What a run leaves in its folder, and what it prints."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from minidl.ir import ArgumentError
from minidl.train import (
    Ema,
    Epoch,
    History,
    Png,
    TensorBoard,
    Trainer,
    fit,
    metrics,
    progress,
)
from minidl.train.curves import chart, curves_section
from minidl.train.history import FIELDS
from minidl.train.log import STEP_FIELDS
from tests.train.small import BATCH, compiled, training, validation
from tests.train.test_trainer import At, StoppedError, press_ctrl_c, stop

FILES = {"args.json", "log.csv", "steps.csv", "report.html", "confusion.csv"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(folder: Path, epochs: int = 2, **how: Any) -> Trainer:
    made = Trainer(compiled(), quiet=True, output_dir=folder, print_freq=4, **how)
    made.fit(training(), validation(), epochs)
    return made


# -- files -----------------------------------------------------------------------------------------


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    done = run(tmp_path, arguments={"lr": 0.1, "data_path": Path("x")}, ema=Ema(0.5))
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        *FILES,
        "checkpoint-00000006.safetensors",
        "checkpoint-00000012.safetensors",
        "checkpoint-best.safetensors",
    }
    asked = json.loads((tmp_path / "args.json").read_text())
    assert asked["arguments"] == {"lr": 0.1, "data_path": "x"}
    assert asked["step"]["model"] == "small"
    logged = rows(tmp_path / "log.csv")
    assert tuple(logged[0]) == FIELDS
    for name in FIELDS:
        assert [float(row[name]) for row in logged] == done.history[name]
    steps = rows(tmp_path / "steps.csv")
    assert tuple(steps[0]) == STEP_FIELDS
    assert [(row["steps"], row["epoch"]) for row in steps] == [("4", "1"), ("8", "2"), ("12", "2")]
    assert float(steps[-1]["loss"]) == done.loss
    with (tmp_path / "confusion.csv").open(newline="") as file:
        table = [[int(word) for word in row] for row in csv.reader(file)]
    assert done.evaluation is not None
    assert done.evaluation.confusion is not None
    assert table == done.evaluation.confusion.tolist()


def test_a_matrix_of_too_many_classes_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_CONFUSED", 5)
    run(tmp_path)
    path = tmp_path / "confusion.csv"
    assert not path.exists()
    assert capsys.readouterr().err == (
        f"minidl: no {path}: a confusion matrix is made for at most 5 classes\n"
    )


def test_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    Trainer(compiled(), quiet=True, output_dir=tmp_path).fit(training(), epochs=1)
    (row,) = rows(tmp_path / "log.csv")
    assert row["val_loss"] == row["ema_top1"] == ""
    assert not (tmp_path / "steps.csv").exists()


def test_a_resumed_run_goes_on_in_its_files(tmp_path: Path) -> None:
    """The steps behind the checkpoint are done again; their rows stand there once."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, 3)
    with pytest.raises(StoppedError):
        run(parts, 3, callbacks=[At(10, stop)])
    assert [row["steps"] for row in rows(parts / "steps.csv")] == ["4", "8"]
    with (parts / "steps.csv").open("a") as file:
        file.write("12,")  # a line that was cut off
    run(parts, 3, resume=parts)
    assert (parts / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes()
    names = [name for name in FIELDS if name not in ("speed", "seconds")]
    logs = [[[row[n] for n in names] for row in rows(f / "log.csv")] for f in (parts, whole)]
    assert logs[0] == logs[1]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], list[str], int]] = {
    "cut off": (lambda raw: raw[:-9], ["4", "8"], 0),
    "cut in a number": (lambda raw: raw[:-2], ["4", "8"], 0),
    "zeros": (lambda raw: raw + bytes(4096), ["4", "8", "12"], 0),
    "zeros within": (lambda raw: raw.replace(b"8,2,", bytes(4)), ["4", "12"], 1),
    "no text": (lambda raw: raw.replace(b"8,2,", b"\xff\xfe8,"), ["4", "12"], 1),
    "a quote": (lambda raw: raw.replace(b"8,2,", b'"8,2,'), ["4", "12"], 1),
    "a field more": (lambda raw: raw.replace(b"8,2,", b"8,2,3,"), ["4", "12"], 1),
    "a field less": (lambda raw: raw.replace(b"8,2,", b"8,"), ["4", "12"], 1),
    "no number": (lambda raw: raw.replace(b"8,2,", b"8,two,"), ["4", "12"], 1),
    "two rows in one": (lambda raw: raw.replace(b"\r\n8", b"8"), ["12"], 1),
    "another header": (lambda raw: raw.replace(b"steps", b"st\0ps"), ["4", "8", "12"], 0),
    "no header": (lambda raw: raw.split(b"\n", 1)[1], ["4", "8", "12"], 0),
    "a folder's bytes": (lambda raw: raw[:40] + bytes(range(256)) + raw[40:], ["8", "12"], 2),
    "nothing": (lambda raw: b"", [], 0),
}
"""What happens to a steps.csv, the rows that are kept of it, and how many are said to be lost."""


@pytest.mark.parametrize("what", DAMAGE)
def test_whole_rows_of_a_damaged_file_are_kept(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, kept, lost = DAMAGE[what]
    run(tmp_path)
    path = tmp_path / "steps.csv"
    raw = path.read_bytes()
    assert damage(raw) != raw
    whole = {row["steps"]: row for row in rows(path)}
    path.write_bytes(damage(raw))
    run(tmp_path, 3, resume=tmp_path)
    found = rows(path)
    assert [row["steps"] for row in found] == [*kept, "16"]
    assert found[:-1] == [whole[steps] for steps in kept]
    said = f"minidl: {path}: {lost} damaged rows are left out\n" if lost else ""
    assert capsys.readouterr().err == said


def test_the_log_is_complete_when_it_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 3, callbacks=[At(14, press_ctrl_c)])
    assert [row["epoch"] for row in rows(tmp_path / "log.csv")] == ["1", "2"]
    assert "Learning curves" in (tmp_path / "report.html").read_text()


def test_a_callback_that_needs_a_folder() -> None:
    for callback in (Png(), TensorBoard()):
        with pytest.raises(ArgumentError, match=f"{type(callback).__name__} needs an output_dir"):
            Trainer(compiled(), quiet=True, callbacks=[callback]).fit(training())


def test_tensorboard(tmp_path: Path) -> None:
    board = TensorBoard(every=3)
    done = run(tmp_path, callbacks=[board])
    (file,) = (tmp_path / "tensorboard").iterdir()
    data = file.read_bytes()
    for tag in (b"loss/step", b"loss/train", b"loss/validation", b"accuracy/top1"):
        assert tag in data
    assert data.count(b"loss/step") == 4
    assert done.history.stopped == ""
    more = run(tmp_path, 3, resume=tmp_path, callbacks=[TensorBoard(every=3)])
    assert len(more.history) == 3
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def test_curves_as_a_png(tmp_path: Path) -> None:
    run(tmp_path, callbacks=[Png()])
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("callback", "module", "extra"),
    [(Png, "matplotlib.figure", "plot"), (TensorBoard, "tensorboardX", "tensorboard")],
)
def test_an_extra_that_is_not_installed(
    callback: type[Png], module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ArgumentError, match=rf"minidl\[{extra}\]"):
        run(tmp_path, callbacks=[callback()])


# -- the page --------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Elements of a page by tag, all of them closed in order."""

    VOID = ("meta", "path", "circle", "polyline", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def lines(self) -> dict[str | None, list[list[float]]]:
        """Points of every curve, in pixels, by class."""
        return {
            how["class"]: [[float(x) for x in p.split(",")] for p in (how["points"] or "").split()]
            for tag, how in self.found
            if tag == "polyline"
        }


def test_curves_stand_above_the_plan(tmp_path: Path) -> None:
    done = run(tmp_path, 3, ema=Ema(0.5))
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    ids = [how.get("id") for _, how in page.found if how.get("id")]
    assert len(ids) == len(set(ids))
    assert ids.index("curves") < ids.index("arena")
    lines = page.lines()
    assert set(lines) == {
        "loss", "val_loss", "ema_loss", "top1", "top5", "ema_top1", "learning_rate"
    }  # fmt: skip
    assert all(len(line) == 3 for line in lines.values())
    heights = [y for _, y in lines["loss"]]
    order = sorted(range(3), key=lambda i: -heights[i])
    assert order == sorted(range(3), key=lambda i: done.history["loss"][i])
    assert "http" not in text
    start = text.index('<script id="plan" type="application/json">')
    data = text[start:].split(">", 1)[1].split("</script>")[0]
    assert json.loads(data)["arena"] == done.step.plan.arena_bytes


def test_the_page_of_a_plan_is_as_before() -> None:
    plan = compiled().plan
    assert "MORE" not in plan.to_html()
    assert "curves" not in plan.to_html()


def test_values_that_are_not_finite_are_left_out() -> None:
    losses = [1.0, float("nan"), float("inf"), 0.5]
    history = History([Epoch(i + 1, i, loss, 0.1) for i, loss in enumerate(losses)])
    assert [len(line) for line in Page(curves_section(history)).lines().values()] == [2, 4]


def test_nothing_to_draw() -> None:
    assert chart(History(), "Loss", ("loss",)) == ""
    assert "<svg" not in curves_section(History())
    one = History([Epoch(1, 1, 0.0, 0.1)], stopped="a < b")
    assert len(Page(curves_section(one)).lines()["loss"]) == 1
    assert "a &lt; b" in curves_section(one)


# -- the screen ------------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], **how: Any) -> tuple[list[str], str]:
    Trainer(compiled(), **how).fit(training(), validation(), 2)
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err


def test_off_a_terminal_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    lines, errors = printed(capsys)
    assert errors == ""
    assert lines.pop(0).startswith("  epoch 1/2  step 1/6  loss ")
    for i, line in enumerate(lines):
        assert re.fullmatch(
            rf"epoch {i + 1}/2  loss \d\.\d{{4}}  test accuracy \d+\.\d\d %  [\d,]+ images/s  "
            r"\d+ s",
            line,
        )


def test_lines_between_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = printed(capsys, print_freq=3, ema=Ema(0.5))
    assert [line.split("  loss")[0] for line in lines] == [
        "  epoch 1/2  step 1/6",
        *("  epoch 1/2  step 3/6", "  epoch 1/2  step 6/6", "epoch 1/2"),
        *("  epoch 2/2  step 3/6", "  epoch 2/2  step 6/6", "epoch 2/2"),
    ]
    assert "averaged weights" in lines[-1]


def test_a_bar_where_someone_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "someone_looks", lambda: True)
    lines, bar = printed(capsys)
    assert len(lines) == 2
    assert f"{BATCH * 6}" in bar
    assert "epoch 1/2" in bar


def test_a_notebook_is_someone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not progress.someone_looks()
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert progress.someone_looks()


def test_the_short_way(capsys: pytest.CaptureFixture[str]) -> None:
    from minidl.data import Dataset

    source, test = training(), validation()
    data = Dataset("few", (), source.images, source.labels, test.images, test.labels)
    step = compiled()
    accuracy = fit(step, data, 2)
    other = compiled()
    history = Trainer(other, quiet=True).fit(source, test, 2)
    assert accuracy == history.last.top1
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert fit(step, data, 0) == 0.0
    few = Dataset("few", (), source.images[:3], source.labels[:3], test.images, test.labels)
    with pytest.raises(ArgumentError, match="batch 4 is larger than the 3 training images"):
        fit(step, few, 1)
