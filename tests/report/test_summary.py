"""The table of layers against figures found elsewhere: published ones, lifetimes, sums over ops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

import minidl as dl
from minidl import models
from minidl.cli import main
from minidl.recipe import Plan
from minidl.report.columns import LayerRow, Summary, format_count
from minidl.report.summary import summarize
from tests.drawn import drawn
from tests.placed.handmade import training_step
from tests.report.test_page import network

PARAMETERS = {
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "resnet50": 25_557_032,
    "googlenet": 6_624_904,
    "densenet121": 7_978_856,
}
"""torchvision's, at 1,000 classes."""

IMAGES = {"lenet": (32, 32, 1), "alexnet_2012": (67, 67, 3)}
MODES = ("naive", "caffe", "liveness", "fujitsu2016", "arena")
WAYS: dict[str, dict[str, Any]] = {
    "cpu": {"device": "cpu"},
    "cuda": {"device": "cuda"},
    "liveness": {"device": "cuda", "memory": "liveness"},
    "bf16": {"device": "cuda", "precision": "bf16"},
    "recompute": {"device": "cuda", "recompute": 0.05},
    "slices": {"device": "cuda", "recompute": 0.05, "slices": 2},
}
"""Plans in which lifetimes say what is stashed."""

HASTY = {"disable_passes": ("recompute", "order_for_peak")}
"""For tests of what needs no search."""


def planned(model: str, batch: int = 2, **how: Any) -> Plan:
    network = models.MODELS[model](classes=10, image=IMAGES.get(model, (64, 64, 3)))
    return dl.plan(network, batch, **how)


def by_name(summary: Summary) -> dict[str, LayerRow]:
    return {row.name: row for row in summary.rows}


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameters_are_torchvisions(model: str) -> None:
    summary = summarize(dl.plan(models.MODELS[model](), 1, memory="liveness"))
    assert summary.totals.parameters == PARAMETERS[model]
    assert sum(row.parameters for row in summary.rows) == PARAMETERS[model]
    assert summary.totals.weights == 4 * PARAMETERS[model]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_operations_of_vgg16(device: str) -> None:
    """15.47 G multiply-adds an image, 13 convolutions and 3 linear layers."""
    summary = summarize(dl.plan(models.vgg16(), 2, device=device))
    products = [row for row in summary.rows if row.kind in ("Conv2d", "Linear")]
    assert len(products) == 16
    assert sum(row.flops for row in products) / 2 / 2 == 15_470_264_320
    assert by_name(summary)["features.0"].flops == 2 * 2 * 224 * 224 * 64 * 27


def lifetimes_across(plan: Plan) -> int:
    """Bytes that live on both sides of the first gradient, but for what is given or the result."""
    owners = {t: place for t, place in plan.placements.items() if t.view_of is None}
    begin = min(place.first for t, place in owners.items() if t.kind == "gradient")
    return sum(
        t.nbytes
        for t, place in owners.items()
        if not t.given and t not in plan.graph.outputs and place.first < begin < place.last
    )


STASHING = ["alexnet", "alexnet_2012", "vgg11_bn", "resnet18", "googlenet"]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.slow if model == "googlenet" else ())
        for model in STASHING
    ],
)
def test_stash_is_what_lives_between_the_passes(model: str) -> None:
    """In a third of the ways in a session, other ones for each model."""
    for way in drawn(list(WAYS), 3, STASHING.index(model)):
        plan = planned(model, **WAYS[way])
        summary = summarize(plan)
        assert summary.totals.stash == sum(row.stash for row in summary.rows), way
        assert summary.totals.stash == lifetimes_across(plan), way


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.slow if model in ("densenet121", "googlenet") else ())
        for model in models.MODELS
    ],
)
def test_every_model_and_mode(model: str) -> None:
    for memory in MODES if model in ("lenet", "resnet18") else ("arena",):
        plan = planned(model, memory=memory, device="cuda", **HASTY)
        summary = summarize(plan)
        check_figures(plan, summary)
        lines = summary.text().splitlines()
        assert max(map(len, lines)) <= 120
        shown = str(summary)
        assert all(row.name.split(".")[-1] in shown for row in summary.rows)


def check_figures(plan: Plan, summary: Summary) -> None:
    forward = [op for op in plan.graph.ops if op.phase == "forward"]
    totals = summary.totals
    assert totals.forward_flops == sum(op.flops for op in forward)
    assert totals.forward_flops == sum(row.flops for row in summary.rows)
    assert totals.step_flops == plan.graph.flops
    assert totals.arena == plan.arena_bytes
    assert all(row.shape[:1] in ((), (plan.batch,)) for row in summary.rows)
    lasting = [t for t, _ in plan.placements.items() if t.persistent and t.view_of is None]
    assert totals.weights + totals.state == sum(t.nbytes for t in lasting)


@pytest.mark.parametrize("memory", MODES)
def test_parts_of_ops_have_the_operations_of_the_whole(memory: str) -> None:
    for op in planned("resnet18", device="cuda", memory=memory, **HASTY).graph.ops:
        assert op.flops == sum(part.flops for part in op.parts)
        assert "+".join(part.function.__name__ for part in op.parts) == op.kernel


def test_the_table_of_lenet() -> None:
    plan = planned("lenet", 64, device="cuda")
    assert plan.summary().text(100) == LENET.strip("\n")


LENET = """
lenet  batch 64  image 32x32x1  float32  device cuda
layer  kind          output       parameters     FLOP      stash  in the plan
-------------------------------------------------------------------------------------------------
0      Conv2d        64x28x28x6          156  15.05 M          -  one kernel with Tanh; update in
                                                                  wgrad
1      Tanh          64x28x28x6            -  301.1 K   1.15 MiB  in the kernel of 0
2      MaxPool2d     64x14x14x6            -  301.1 K  318.5 KiB  mask of 2 bits
3      Conv2d        64x10x10x16       2,416  30.72 M          -  one kernel with Tanh; update in
                                                                  wgrad; dgrad over the data
4      Tanh          64x10x10x16           -  102.4 K  400.0 KiB  in the kernel of 3
5      MaxPool2d     64x5x5x16             -  102.4 K  106.2 KiB  mask of 2 bits
6      Flatten       64x400                -        -          -  a view
7      Linear        64x120           48,120   6.14 M          -  one kernel with Tanh; update in
                                                                  wgrad
8      Tanh          64x120                -   7.68 K  30.00 KiB  in the kernel of 7; gradient in
                                                                  dgrad of 9
9      Linear        64x84            10,164   1.29 M          -  one kernel with Tanh; update in
                                                                  wgrad; dgrad over the data
10     Tanh          64x84                 -   5.38 K  21.00 KiB  in the kernel of 9; gradient in
                                                                  dgrad of 11
11     Linear        64x10               850  107.5 K          -  update in wgrad; dgrad over the
                                                                  data
loss   CrossEntropy  scalar                -   2.56 K   2.50 KiB  in place
-------------------------------------------------------------------------------------------------
parameters 61,706; forward 54.14 MFLOP, a step 147.1 MFLOP
stash 2.01 MiB, weights 241.0 KiB, optimizer and other state 241.1 KiB, inputs 256.5 KiB
arena 3.33 MiB, 8.58 MiB in memory mode naive
"""


def test_what_became_of_vgg16() -> None:
    rows = by_name(summarize(planned("vgg16", device="cuda", **HASTY)))
    conv, relu, pool = (rows[f"features.{i}"] for i in (2, 3, 4))
    assert conv.notes == (
        "one kernel with MaxPool2d and ReLU",
        "update in wgrad",
        "dgrad over the data",
    )
    assert relu.notes == ("in the kernel of 2", "gradient in dgrad of 5")
    assert pool.notes == (
        "in the kernel of 2",
        "mask of 2 bits",
        "gradient in dgrad and wgrad of 2",
    )
    assert conv.stash == relu.stash == 0
    assert pool.stash == 2 * 32 * 32 * 64 * 4 + 2 * 32 * 32 * 64 // 4
    assert rows["flatten"].notes == ("a view",)


def test_naive_leaves_layers_as_they_are() -> None:
    rows = planned("lenet", memory="naive").summary().rows
    assert {note for row in rows for note in row.notes} == {"a view"}


def test_what_runs_again_is_no_stash() -> None:
    plan = dl.plan(network(), 4, recompute=1.0)
    again = {p.layer for op in plan.graph.ops if op.phase == "recompute" for p in op.parts}
    rows = plan.summary().rows
    assert again == {row.name for row in rows if "runs again" in row.notes} != set()
    kept = dl.plan(network(), 4, recompute=0).summary()
    assert plan.summary().totals.stash < kept.totals.stash
    assert kept.totals.recompute_flops == 0 < plan.summary().totals.recompute_flops


def test_concatenations_are_joined() -> None:
    rows = summarize(planned("googlenet", device="cuda", **HASTY)).rows
    concats = [row for row in rows if row.kind == "Concat"]
    assert len(concats) == 9
    assert all(row.notes == ("joined without a copy",) and not row.stash for row in concats)


def test_slices_are_one_row() -> None:
    whole, sliced = (summarize(planned("vgg11", 4, slices=n, **HASTY)) for n in (1, 2))
    names = [row.name for row in sliced.rows]
    joined = [name for name in names if name.endswith(".joined")]
    assert len(joined) == 1
    for one, other in zip(whole.rows, (r for r in sliced.rows if r.kind), strict=True):
        assert one.flops == other.flops
        assert one == replace(other, stash=one.stash, notes=one.notes)


def test_a_layer_used_twice_counts_once() -> None:
    x, shared = dl.Input((4,)), dl.Linear(4)
    y = shared(dl.ReLU()(shared(x, name="a"), name="f"), name="b")
    rows = by_name(dl.plan(dl.Network(x, y), 3).summary())
    assert (rows["a"].parameters, rows["b"].parameters) == (20, 0)
    assert "parameters of a" in rows["b"].notes


def test_a_step_and_its_prediction() -> None:
    x = dl.Input((4,))
    net = dl.Network(x, dl.Linear(3)(dl.Dropout(0.5)(dl.Linear(5)(x))))
    step = dl.compile(net, 2)
    assert str(step.summary()) == str(step.plan.summary())
    assert step.summary().totals.naive == step.plan.modes["naive"]
    forward = summarize(step.inference_plan)
    assert [row.kind for row in forward.rows] == ["Linear", "Dropout", "Linear"]
    assert forward.rows[1].notes == ("nothing to do",)
    assert forward.totals.stash == 0


def test_one_layer_without_a_name() -> None:
    summary = dl.plan(dl.Sequential(dl.Input((4,)), **{"a.b": dl.Linear(3)}), 2).summary()
    assert [row.name for row in summary.rows] == ["a.b", "loss"]
    bare = dl.plan(dl.Linear(3), 2, image=(4,)).summary()
    assert [row.parameters for row in bare.rows] == [15, 0]


def test_a_graph_without_notes_has_no_rows() -> None:
    summary = summarize(training_step())
    assert summary.rows == ()
    assert summary.totals.weights == 16
    assert "stash" in str(summary)


def test_long_names_and_narrow_terminals() -> None:
    net = dl.Sequential(dl.Input((4,)), **{"block" * 20: dl.Linear(3)})
    summary = dl.plan(net, 2).summary()
    assert "..." + ("block" * 20)[-27:] in str(summary)
    assert "block" * 20 in summary._repr_html_()
    assert max(map(len, summary.text(60).splitlines()[1:4])) < 100


def test_a_notebook_shows_a_table() -> None:
    net = dl.Network(x := dl.Input((4,)), dl.Linear(3)(x, name="a"), name="<b>&")
    html = dl.plan(net, 2).summary()._repr_html_()
    root = ElementTree.fromstring(html)
    assert len(root.findall(".//tr")) == 3
    assert "<b>" not in html


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 "),
        (999, "999 "),
        (1000, "1.00 K"),
        (473_500_000_000, "473.5 G"),
        (999_960, "1.00 M"),
        (3 * 10**18, "3000.0 P"),
    ],
)
def test_counts(count: int, text: str) -> None:
    assert format_count(count) == text


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["plan", "--model", "lenet", "--classes", "10", "-b", "64", "--device", "cuda"]
    assert main([*how, "--summary"]) == 0
    printed = capsys.readouterr().out
    assert "parameters 61,706" in printed
    assert "in the plan" in printed
