"""What objects print: bounded, of some use, no work, and never an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import data, models, predict, train
from minidl.data.names import Names
from minidl.ir.printed import (
    SHOWN,
    beside,
    columns,
    end_of,
    fields_of,
    in_words,
    never_raises,
)
from minidl.train.checkpoint import State
from tests.report.test_summary import PARAMETERS
from tests.training import random_batches


def lenet() -> dl.Network:
    return models.lenet(10, (32, 32, 1))


def step() -> dl.Step:
    return dl.compile(lenet(), 4)


def arrays(count: int = 12) -> data.Arrays:
    return data.Arrays(np.zeros((count, 8, 8, 3), np.uint8), np.arange(count) % 2, ("a", "b"))


def splits() -> data.Splits:
    return data.Splits("mine", arrays(), arrays(4))


def loader(source: Any = None) -> data.Loader:
    return data.Loader(source or arrays(), 4, seed=0)


def without_size(made: object) -> str:
    return re.sub(r"[\d.]+ MiB", "N MiB", repr(made))


IMAGES = np.zeros((12, 8, 8, 3), np.float32)

MADE: dict[str, tuple[Callable[[], Any], str]] = {
    "network": (lenet, "lenet: input 32x32x1, 12 layers, 61,706 parameters\n"),
    "input": (lambda: dl.Input((8, 8, 3)), "Input((8, 8, 3))"),
    "input of bytes": (lambda: dl.Input(4, dtype="uint8"), "Input((4,), dtype='uint8')"),
    "output": (lambda: dl.ReLU()(dl.Input(4), name="a"), "<output of ReLU(), name='a'>"),
    "plan": (lambda: dl.plan(lenet(), 4), "lenet, batch 4, arena: N MiB, optimal"),
    "graph": (lambda: dl.plan(lenet(), 4).graph, "<StepGraph of "),
    "recipe": (lambda: dl.plan(lenet(), 4).recipe, "Recipe(Network(lenet, "),
    "step": (step, "<Step of lenet, batch 4, cpu, N MiB: 0 done>"),
    "history": (train.History, "History of no epochs"),
    "trainer": (
        lambda: train.Trainer(step(), quiet=True),
        "<Trainer of <Step of lenet, batch 4, cpu, N MiB: 0 done>, Constant(): epoch 0 of 0, ",
    ),
    "callback": (train.EarlyStopping, "EarlyStopping(metric='val_loss', patience=5, "),
    "arena": (lambda: step().arena, "<Arena of N MiB, cpu>"),
    "ema": (train.Ema, "<Ema, decay 0.9999, every 1: nothing yet>"),
    "digits": (data.digits, "<digits: 1,438 train, 359 test, 64x64x3 float32, 10 classes>"),
    "arrays": (arrays, "<Arrays: 12 images in 2 classes (a, b), 8x8x3 uint8>"),
    "subset": (
        lambda: data.Subset(arrays(), [1, 2]),
        "<Subset: 2 images in 2 classes (a, b), some of Arrays>",
    ),
    "splits": (splits, "<Splits mine: 16 images in 2 classes (a, b): 12 train, 4 test>"),
    "loader": (loader, "<Loader: 3 batches of 4 images 8x8x3 uint8, 0 workers, of <Arrays: 12 "),
    "shuffled": (
        lambda: train.Shuffled(IMAGES, np.zeros(12, int), 5),
        "<Shuffled: 2 batches of 5 images 8x8x3 float32>",
    ),
    "in order": (
        lambda: train.InOrder(IMAGES, np.zeros(12, int), 5),
        "<InOrder: 3 batches of 5 images 8x8x3 float32>",
    ),
    "repeated": (lambda: train.Repeated([1, 2], length=2), "<Repeated: 2 batches of [1, 2]>"),
    "evaluation": (
        lambda: train.Evaluation(9, 0.5, 0.25, 1.0, np.zeros((2, 2)), 3),
        "<Evaluation of 9 images, loss 0.5, top-1 25.00%, top-5 100.00%, 3 left out>",
    ),
    "checkpoint": (
        lambda: train.Checkpoint(Path("run"), {"a": IMAGES}, State(steps=7, epoch=1)),
        "<Checkpoint run: step 7, epoch 1, 1 variables>",
    ),
    "predictor": (
        lambda: predict.Predictor(
            predict.Trained(predict.ModelCard("lenet", 10, (32, 32, 1)), Path("a.npz"))
        ),
        "<Predictor: lenet, images 32x32x1, 10 classes, a.npz>",
    ),
}


@pytest.mark.parametrize("what", MADE)
def test_what_is_printed(what: str) -> None:
    make, begin = MADE[what]
    made = make()
    text = without_size(made)
    assert text.startswith(begin)
    assert len(text) < 5000
    assert " object at 0x" not in text
    half = object.__new__(type(made))
    assert repr(half)


@pytest.mark.parametrize("what", ["folder", "tar"])
def test_sources_say_where_they_are(what: str, tmp_path: Path) -> None:
    half = object.__new__(data.ImageFolder if what == "folder" else data.ImageTar)
    half.classes, half.names = ("a", "b"), Names(["a/1.png"])
    if isinstance(half, data.ImageFolder):
        half.folder = tmp_path
    else:
        half.path = tmp_path
    name = type(half).__name__
    assert repr(half) == f"<{name}: 1 images in 2 classes (a, b), in {tmp_path}>"


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["alexnet", "resnet50", "googlenet"])
def test_parameters_are_torchvisions(model: str) -> None:
    assert f" {PARAMETERS[model]:,} parameters\n" in repr(models.MODELS[model]())


def test_rows_are_those_of_a_plan() -> None:
    net = models.resnet18(10, (64, 64, 3))
    rows = {r.name: r for r in dl.plan(net, 1, memory="liveness").summary().rows}
    _, _, *lines = repr(net).splitlines()
    shown = [line.split() for line in lines if not line.startswith("... ")]
    assert len(shown) == SHOWN
    for name, kind, shape, count, *_ in shown:
        assert (kind, f"1x{shape}") == (rows[name].kind, "x".join(map(str, rows[name].shape)))
        assert count.replace(",", "") == (str(rows[name].parameters) if count != "-" else "-")
        assert (count == "-") == (rows[name].parameters == 0)


def test_branches_say_what_they_read() -> None:
    x = dl.Input((8, 8, 3))
    a = dl.Conv2d(3, 1)(x, name="block.a")
    b = dl.ReLU()(x, name="block.b")
    lines = repr(dl.Network(x, dl.Add()(a, b, name="block.sum"))).splitlines()
    assert [re.split("  +", line)[-1] for line in lines[1:]] == ["reads", "12", "input", "a, b"]
    many = dl.Concat()(*[dl.ReLU()(x, name=f"r{i}") for i in range(5)], name="all")
    assert repr(dl.Network(x, many)).endswith("-  r0, r1 and 3 more")


def test_a_layer_used_again_counts_once() -> None:
    x, shared = dl.Input((4,)), dl.Linear(4)
    text = repr(dl.Network(x, shared(shared(x, name="a"), name="b")))
    assert "2 layers, 20 parameters" in text
    assert [line.split()[3] for line in text.splitlines()[2:]] == ["20", "-"]


@pytest.mark.parametrize("count", [SHOWN, SHOWN + 1, 1000])
def test_long_networks_are_bounded(count: int) -> None:
    text = repr(dl.Sequential(dl.Input((4,)), *[dl.ReLU() for _ in range(count)]))
    assert f"{count:,} layers, 0 parameters" in text
    assert len(text.splitlines()) == 2 + SHOWN + (count > SHOWN)
    assert (f"... {count - SHOWN:,} more ..." in text) == (count > SHOWN)
    assert text.splitlines()[-1].startswith(str(count - 1))


def test_a_deep_network_is_no_deep_recursion() -> None:
    y = x = dl.Input((4,))
    for _ in range(2000):
        y = dl.ReLU()(y)
    assert repr(y) == "<output of ReLU()>"
    assert "2,000 layers" in repr(dl.Network(x, y))


def test_layers_alone_where_outputs_are_not_known() -> None:
    loose = dl.Sequential(dl.Conv2d(4, 3), dl.Sequential(dl.ReLU()))
    assert repr(loose).splitlines()[:3] == ["Sequential: 2 layers", "layer  kind", "0      Conv2d"]
    assert "has no Input" in repr(loose)
    wrong = repr(dl.Sequential(dl.Input((8, 8, 3)), dl.Linear(4)))
    assert "layer '0', Linear(features=4, bias=True), input (1, 8, 8, 3): needs 2" in wrong
    assert repr(dl.Sequential()) == "Sequential()"


def test_errors_name_a_network_in_a_line() -> None:
    with pytest.raises(dl.ArgumentError) as caught:
        dl.Sequential(*[dl.ReLU() for _ in range(1000)])("x")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("Sequential(0, 1, 2, 3, 4, 5, 6, ..., 999) is applied to ")


class Own(dl.Layer):
    def __init__(self, factor: float) -> None:
        self.factor, self.table, self._hidden = factor, np.zeros(9), 1


def test_a_layer_of_ones_own() -> None:
    assert repr(Own(0.5)) == "Own(factor=0.5)"
    assert repr(object.__new__(Own)) == "Own()"


# -- steps -----------------------------------------------------------------------------------------


def test_a_step_prints_without_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    made = step()
    (batch,) = random_batches(np.random.default_rng(0), 4, (32, 32, 1), 10, count=1)
    loss = made(*batch)
    state = made.variables_dict()
    made.start(made.put(*batch))
    for name in ("read", "later", "synchronize"):
        monkeypatch.setattr(made.arena.device, name, None)
    assert without_size(made) == f"<Step of lenet, batch 4, cpu, N MiB: 2 done, loss {loss:.4g}>"
    monkeypatch.undo()
    made.load_variables(state)
    assert repr(made).endswith(": 1 done>")
    assert made.steps == 1


def test_the_last_epochs() -> None:
    epochs = [train.Epoch(e, 9 * e, 1 / e, 0.1, top1=0.5, seconds=2.0 * e) for e in range(1, 13)]
    first, head, *rows = repr(train.History(epochs, "bored")).splitlines()
    assert first == "History of 12 epochs, stopped: bored, the last 10"
    assert head.split() == ["epoch", "loss", "learning", "rate", "top1", "seconds"]
    assert [row.split()[0] for row in rows] == [str(e) for e in range(3, 13)]
    assert rows[-1].split() == ["12", "0.083333", "0.1", "50.00%", "24"]


# -- the helpers -----------------------------------------------------------------------------------


def test_never_raises() -> None:
    class Broken:
        @never_raises
        def __repr__(self) -> str:
            raise RecursionError

    assert "Broken object at 0x" in repr(Broken())


def test_columns() -> None:
    assert columns(("a", "bb"), [("ccc", "1"), ("d", "22")], (1,)) == "a    bb\nccc   1\nd    22"
    assert columns(("a",), []) == "a"
    assert end_of("x" * 50) == "..." + "x" * 29
    assert beside("a.b.c", "a.b.d") == "d"
    assert beside("a", "a") == "a"
    assert fields_of(Own(2)) == "factor=2"


def test_what_an_error_repeats_is_short() -> None:
    long = dl.Sequential(*[dl.ReLU() for _ in range(99)])
    assert in_words(lenet()) == "Network(lenet, 2 nodes)"
    assert in_words([lenet()]) == "[Network(lenet, 2 nodes)]"
    assert in_words(step()) == "<Step>"
    assert in_words(arrays()) == "<Arrays>"
    assert in_words("a" * 99) == f"'{'a' * 12}...{'a' * 13}'"
    assert in_words(dl.Input((4,))) == "Input((4,))"
    assert max(len(in_words(x)) for x in (long, dl.Conv2d(3, 3))) <= 30
    with pytest.raises(dl.ArgumentError, match=r"step must be a Step, got Network\(lenet, 2 n"):
        train.Trainer(lenet())  # type: ignore[arg-type]
