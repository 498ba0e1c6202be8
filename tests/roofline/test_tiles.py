"""Tiles and splits that the model of time would choose gain what it says, once planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import minidl as dl
from minidl.cards import BY_NAME, DEFAULT
from minidl.cli import main
from minidl.ir import ArgumentError
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.product import SPLITS, TILES, read_tuning
from minidl.ops.cuda.work import alternatives, works_of
from minidl.report.tiles import planned_product
from minidl.roofline import read_counts, time_of


def planned(card: Card, **how: Any) -> dl.Plan:
    """A first layer, a convolution with a pool, a strided one, and two fully connected."""
    layers = (
        dl.Conv2d(64, 7, stride=2, padding=3),
        dl.ReLU(),
        dl.Conv2d(96, 3, padding=1),
        dl.ReLU(),
        dl.MaxPool2d(2),
        dl.Conv2d(256, 3, stride=2, padding=1),
        dl.ReLU(),
        dl.Flatten(),
        dl.Linear(512),
        dl.ReLU(),
        dl.Linear(100),
    )
    net = dl.Sequential(dl.Input((96, 96, 3)), *layers)
    more = {"precision": "bf16", "gpu": card.name, "optimizer": dl.SGD(0.1, 0.9), **how}
    return dl.plan(net, 32, **more)


CARDS = [BY_NAME[name] for name in ("rtx3060", "rtx4090", "h100")]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_what_is_gained_is_there_once_it_is_planned(card: Card) -> None:
    before = planned(card)
    tiles = before.tiles()
    after = planned(card, tuning=dict(tiles.rows))
    predicted = before.time().seconds - tiles.gained
    assert after.time().seconds == pytest.approx(predicted, rel=0.03)
    assert tiles.gained > 0, "the choice of plans has the numbers of Hopper"
    again = after.tiles()
    assert again.gained <= 0.02 * predicted, "what is chosen is chosen again"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_tile_that_is_planned_is_among_the_others(card: Card) -> None:
    """With the time that its own launches have."""
    counts, seen = read_counts(), 0
    for op in planned(card).graph.ops:
        product, launches = planned_product(op), launches_of(op)
        others = dict(alternatives(op, launches, card, counts))
        assert {(tile, splits) for tile, splits in others if splits not in SPLITS} == set()
        if product is None or not others:
            continue
        seen += 1
        own = sum(time_of(w, card).seconds for w in works_of(op, launches, card, counts))
        same = others[product.tile.name, product.splits]
        assert sum(time_of(w, card).seconds for w in same) == pytest.approx(own, rel=0.05)
    assert seen > 8


def test_no_tile_is_another_than_the_card_has_room_for() -> None:
    small = BY_NAME["rtx3060"]
    names = {tile.name for tile in TILES if tile.unit == "bf16"}
    for op in planned(small).graph.ops:
        for (name, splits), works in alternatives(op, launches_of(op), small, read_counts()):
            assert name in names
            assert all(work.shared <= small.limits.shared_of_a_block for work in works)
            assert (len(works) == 2) >= (splits > 1)


def test_a_first_layer_keeps_its_tile() -> None:
    """Its images come by way of shared memory, cut for one tile."""
    op = next(op for op in planned(DEFAULT).graph.ops if op.layer == "0" and op.phase == "forward")
    assert list(alternatives(op, launches_of(op), DEFAULT, read_counts())) == []


def test_the_command_writes_a_tuning_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiles.json"
    how = ["plan", "--model", "vgg_small", "-b", "64", "--precision", "bf16", "--device", "cuda"]
    assert main([*how, "--time", "--tiles", str(file)]) == 0
    told = capsys.readouterr().out
    assert "predicted and not measured" in told
    assert "for --tuning" in told
    rows = json.loads(file.read_text())
    assert f"for {len(rows)} of its products, not chosen" in told
    assert read_tuning(file) == {key: tuple(choice) for key, choice in rows.items()}
    assert main([*how, "--time", "--tuning", str(file)]) == 0
    assert "those that this model would choose" in capsys.readouterr().out


def test_a_plan_for_the_cpu_has_no_tiles() -> None:
    with pytest.raises(ArgumentError, match="this plan is for the cpu"):
        dl.plan(dl.Sequential(dl.Input(2), dl.Linear(2)), 2).tiles()
