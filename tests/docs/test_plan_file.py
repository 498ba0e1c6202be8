"""docs/plan_file.md lists exactly the keys that a plan file has, and its example is right."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest

import minidl as dl
from minidl.ir import Kind, Phase
from minidl.placed.verify.file import check_file
from tests.docs.pages import blocks, page, under

PAGE = page("docs/plan_file.md")


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """Of a network with parts, and with ops that run again; with the curve of its plans."""
    x = y = dl.Input((12, 12, 3))
    for _ in range(4):
        y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(8, 3, padding=1)(y)))
    y = dl.Conv2d(2, 1)(dl.Concat()(dl.Conv2d(2, 1)(y), dl.Conv2d(2, 1)(y)))
    net = dl.Network(x, dl.Linear(2)(dl.Flatten()(y)))
    plan = dl.plan(net, 4, recompute=1.0)
    written: dict[str, Any] = json.loads(plan.to_json(plan.curve()))
    return written


def documented(heading: str) -> set[str]:
    """The keys in the first column of the table under a heading."""
    return set(re.findall(r"^\| `(\w+)` \|", under(PAGE, heading), re.MULTILINE))


def test_keys_of_the_plan(data: dict[str, Any]) -> None:
    assert documented("## The plan") == {*data, "time"}


def test_keys_of_the_time() -> None:
    network = dl.Sequential(dl.Input((4,)), dl.Linear(2))
    plan = dl.plan(network, 2, gpu="l4")
    time = json.loads(plan.to_json(time=plan.time()))["time"]
    assert documented("## The time") == set(time)
    told = set(re.findall(r"`(\w+)`", under(PAGE, "## The time").partition("|")[0]))
    assert told == {"ops", *(key for op in time["ops"] for key in op)}


def test_keys_of_the_card(data: dict[str, Any]) -> None:
    assert data["card"] is None, "a plan for the cpu has none"
    network = dl.Sequential(dl.Input((4,)), dl.Linear(2))
    (name, card) = (dl.plan(network, 2, gpu="l4").to_dict()[key] for key in ("device", "card"))
    assert name == "cuda"
    assert documented("## The card") == set(card)


def test_keys_of_a_tensor(data: dict[str, Any]) -> None:
    assert documented("## A tensor") == {key for t in data["tensors"] for key in t}
    assert any("view_of" in t for t in data["tensors"])


def test_keys_of_an_op(data: dict[str, Any]) -> None:
    assert documented("## An op") == {key for op in data["ops"] for key in op}


@pytest.mark.parametrize(("heading", "words"), [("## Kinds", Kind), ("## Phases", Phase)])
def test_words(heading: str, words: object) -> None:
    assert documented(heading) == set(get_args(words))


def test_the_checking_example_runs(data: dict[str, Any], tmp_path: Any) -> None:
    check_file(data)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(data))
    (code,) = blocks(PAGE, "python")
    exec(compile(code.replace("plan.json", str(file)), "plan_file.md", "exec"), {})
