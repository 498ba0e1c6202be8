"""Tiles on every card: none is chosen that does not fit, and the model has the card's numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

import minidl as dl
from minidl.cards import BY_NAME, CARDS, DEFAULT
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.product import (
    LAUNCH_SECONDS,
    LEAST_STEPS,
    SPLITS,
    TILES,
    Operand,
    Problem,
    Product,
    choose,
    modelled_seconds,
    room,
)
from tests.layers.harness import SEED

LARGE = 2**25
OPERANDS = [Operand(size, k_major) for size in (2, 4) for k_major in (False, True)]


def with_shared(card: Card, kib: int) -> Card:
    """The same card with less shared memory than any that there is."""
    limits = replace(card.limits, shared=(kib + 1) * 1024, shared_of_a_block=kib * 1024)
    return replace(card, name=f"{card.name} {kib} KiB", limits=limits)


SMALL = [with_shared(BY_NAME["rtx3060"], kib) for kib in (48, 64, 80)]


def problems(count: int) -> Iterator[Problem]:
    chance = random.Random(SEED)
    for _ in range(count):
        unit = chance.choice(("simt", "tf32", "bf16"))
        sizes = [int(2 ** chance.uniform(0, top)) for top in (20, 12, 20)]
        chance.shuffle(sizes)
        yield Problem(unit, *sizes, groups=chance.choice((1, 1, 1, 2, 32)))


@pytest.mark.parametrize("card", [*CARDS, *SMALL], ids=lambda card: card.name)
def test_no_tile_is_chosen_that_does_not_fit(card: Card) -> None:
    """All tiles and operands, each tile asked for by a tuning file too."""
    most, left_out = card.limits.shared_of_a_block, 0
    for a in OPERANDS:
        for b in OPERANDS:
            for tile in TILES:
                problem = Problem(tile.unit, 4096, 4096, 4096)
                tuning = {problem.key: (tile.name, 1)}
                found = choose(problem, LARGE, True, tuning, room(a, b), card)
                needed = tile.shared_bytes(a, b)
                assert found.tile.shared_bytes(a, b) <= most
                assert (found.tile == tile) == (needed <= most)
                left_out += needed > most
    assert left_out or most >= 110_592, "the largest tile with operands of four bytes"


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("card", [*CARDS, *SMALL[1:]], ids=lambda card: card.name)
def test_no_block_of_a_product_asks_for_more_than_the_card_has(card: Card, precision: str) -> None:
    """Whole launches; first layers, whose images come by way of shared memory, among them."""
    chance = random.Random(SEED)
    for _ in range(3):
        kernel, stride = chance.choice([(11, 4), (7, 2), (5, 1), (9, 4)]), chance.randint(1, 3)
        network = dl.Sequential(
            dl.Input((chance.randint(32, 70), chance.randint(32, 70), chance.randint(1, 3))),
            dl.Conv2d(chance.choice((8, 64, 96)), kernel[0], stride=kernel[1], padding=2),
            dl.ReLU(),
            dl.Conv2d(128, 3, stride=stride, padding=1),
            dl.Flatten(),
            dl.Linear(512),
        )
        plan = dl.plan(network, 64, gpu=card, precision=precision)
        launches = [k for op in plan.graph.ops for k in launches_of(op)]
        assert any("Staged" in k.kernel for k in launches) or card in SMALL
        assert max(k.shared for k in launches) <= card.limits.shared_of_a_block


def test_where_nothing_fits_the_error_names_the_card() -> None:
    tiny = with_shared(DEFAULT, 8)
    problem = Problem("bf16", 64, 64, 64)
    with pytest.raises(
        dl.PlanError, match=r"no tile of unit bf16 fits into the 8,192 bytes .*h100"
    ):
        choose(problem, LARGE, True, None, card=tiny)


def seconds_of_a_card(product: Product, count: int, peak: float, bandwidth: float) -> float:
    """The model as it was written for one chip, said again here with its numbers left open."""
    p, tile = product.problem, product.tile
    blocks = -(-p.m // tile.m) * -(-p.n // tile.n) * p.groups * product.splits
    depth = min(product.k_of_a_split, -(-p.k // tile.k) * tile.k)
    waves = -(-blocks // count)
    seconds = waves * (2 * tile.m * tile.n * depth) / (peak * tile.efficiency / count)
    if product.splits > 1:
        seconds += LAUNCH_SECONDS + 2 * product.scratch * 4 / bandwidth
    return seconds


def candidates(problem: Problem) -> Iterator[Product]:
    for tile in (tile for tile in TILES if tile.unit == problem.unit):
        for splits in SPLITS:
            product = Product(problem, tile, splits)
            long = problem.k >= splits * LEAST_STEPS * tile.k
            few = problem.groups * splits <= 65535 and product.scratch * 4 <= 16 * 2**20
            if splits == 1 or (long and few):
                yield product


PEAKS_OF_THE_DEFAULT = {"simt": 60e12, "tf32": 495e12, "bf16": 989e12}


def test_the_default_card_chooses_as_the_model_of_one_chip_did() -> None:
    for problem in problems(300):
        peak = PEAKS_OF_THE_DEFAULT[problem.unit]
        best = min(candidates(problem), key=lambda p: seconds_of_a_card(p, 132, peak, 2.5e12))
        assert choose(problem, LARGE, True, None) == best


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_card_chooses_by_its_own_numbers(card: Card) -> None:
    """Waves over its multiprocessors, its peaks, its bandwidth."""
    sums = card.bandwidth * 2.5 / 3.352
    for problem in problems(40):
        found = choose(problem, LARGE, True, None, lambda tile: 0, card)
        peak = {"simt": card.peaks.simt, "tf32": card.peaks.tf32, "bf16": card.peaks.bf16}
        own = {
            p: seconds_of_a_card(p, card.multiprocessors, peak[problem.unit], sums)
            for p in candidates(problem)
        }
        assert own[found] == pytest.approx(min(own.values()), rel=1e-9)
        assert modelled_seconds(found, card) == pytest.approx(own[found], rel=1e-9)


def test_cards_choose_differently() -> None:
    drawn = list(problems(60))
    chosen = {c.name: [choose(p, LARGE, True, None, card=c) for p in drawn] for c in CARDS}
    assert chosen["rtx3060"] != chosen["h100"]
    assert chosen["rtx5090"] != chosen["rtx4090"]
