"""The table of cards: its facts agree with each other, and every name finds its row."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import minidl as dl
from minidl.cards import ARCHITECTURES, BY_NAME, CARDS, DEFAULT, GIB, named, present
from minidl.devices.architecture import OLDEST
from minidl.ir.card import Card

OF_A_CLOCK = {
    "sm_80": (128, 1024, 2048),
    "sm_86": (256, 256, 512),
    "sm_89": (256, 256, 512),
    "sm_90a": (256, 2048, 4096),
    "sm_120": (256, 256, 512),
}
"""Floating-point operations of a multiprocessor a clock: float32, TF32, bf16, sums in float32."""
FULL_RATE = {"l4": (256, 512, 1024)}
"""Tensor cores that are not GeForce's."""


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_row_agrees_with_itself(card: Card) -> None:
    assert card.limits is ARCHITECTURES[card.architecture]
    assert 0 < card.kept < card.memory / 8
    assert card.free == card.memory - card.kept
    assert "kept" in card.assumed, "nobody has measured it"
    assert card.sources
    assert all(re.fullmatch(r"https://\S+", link) for link in card.sources)
    rates = FULL_RATE.get(card.name, OF_A_CLOCK[card.architecture])
    peaks = card.peaks.simt, card.peaks.tf32, card.peaks.bf16
    for peak, rate in zip(peaks, rates, strict=True):
        told = peak / (card.multiprocessors * card.clock * rate)
        assert told == pytest.approx(1, abs=0.1 if card.limits.capability == 90 else 0.01)


def test_limits_of_architectures() -> None:
    capabilities = [a.capability for a in ARCHITECTURES.values()]
    assert capabilities == sorted(capabilities)
    assert capabilities[0] == OLDEST
    for a in ARCHITECTURES.values():
        assert a.shared_of_a_block == a.shared - 1024, "the system keeps a KiB of each block"


def test_the_default_card_has_the_numbers_of_all_published_plans() -> None:
    assert DEFAULT.name == "h100"
    assert DEFAULT.multiprocessors == 132
    peaks = DEFAULT.peaks
    assert (peaks.simt, peaks.tf32, peaks.bf16) == (60e12, 495e12, 989e12)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("rtx3060", "rtx3060"),
        ("RTX 3060", "rtx3060"),
        ("NVIDIA GeForce RTX 3060", "rtx3060"),
        ("4090", "rtx4090"),
        ("H100-SXM5", "h100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("a100", "a100"),
        ("A100 80GB", "a100-80gb"),
        ("nvidia l4", "l4"),
    ],
)
def test_names(written: str, name: str) -> None:
    assert named(written) is BY_NAME[name]


def test_no_name_means_two_cards() -> None:
    for card in CARDS:
        for name in (card.name, *card.aliases):
            assert named(name) is card


def test_an_unknown_name_is_an_error_that_names_what_there_is() -> None:
    with pytest.raises(dl.ArgumentError) as caught:
        named("rtx4091")
    said = str(caught.value)
    assert said.startswith("unknown GPU 'rtx4091': did you mean rtx4090 or ")
    assert said.endswith(f"choose from {', '.join(BY_NAME)}")
    with pytest.raises(dl.ArgumentError, match=r"unknown GPU 'hal': choose from rtx3060, "):
        named("hal")


@pytest.mark.parametrize("name", ["T4", "Tesla V100"])
def test_cards_that_are_too_old_are_refused_by_name(name: str) -> None:
    with pytest.raises(dl.ArgumentError, match=rf"{name!r} is NVIDIA [TV]\d+, sm_7\d: the kernels"):
        named(name)


def test_a_card_that_is_there_and_in_the_table() -> None:
    for card in CARDS:
        said = card.title.replace(" SXM", " 80GB HBM3").replace("40 GB", "SXM4-40GB")
        found = present(said, card.limits.capability, card.multiprocessors, card.memory * 98 // 100)
        assert found is card


@pytest.mark.parametrize(
    ("name", "capability", "count", "memory", "like"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 89, 76, 16 * GIB, "rtx4090"),
        ("NVIDIA GeForce RTX 3060", 86, 28, 8 * GIB, "rtx3090"),
        ("NVIDIA GeForce RTX 3090", 86, 80, 24 * GIB, "rtx3090"),
        ("NVIDIA H100 80GB HBM3", 120, 132, 80 * GIB, "rtx5090"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 90, 16, 10 * GIB, "h100"),
        ("NVIDIA B200", 100, 148, 180 * GIB, "h200"),
        ("NVIDIA GB10", 121, 48, 120 * GIB, "rtx5090"),
        ("NVIDIA of the year 2030", 150, 400, 500 * GIB, "rtx5090"),
    ],
)
def test_a_card_that_is_in_no_table(
    name: str, capability: int, count: int, memory: int, like: str
) -> None:
    card, reference = present(name, capability, count, memory), BY_NAME[like]
    assert (card.name, card.multiprocessors, card.memory) == (name, count, memory)
    assert card.architecture == f"sm_{capability}{'a' if capability == 90 else ''}"
    assert card.limits.capability == capability
    assert card.peaks.bf16 / count == pytest.approx(
        reference.peaks.bf16 / reference.multiprocessors
    )
    assert {"peaks", "bandwidth", "clock", "l2", "kept"} <= set(card.assumed)
    assert replace(card, name="x") != card, "a card is a value"
    plan = dl.plan(dl.models.lenet(10, (32, 32, 1)), 4, gpu=card)
    assert plan.to_dict()["card"]["name"] == name


def test_a_plan_has_its_card() -> None:
    network = dl.models.lenet(10, (32, 32, 1))
    assert dl.plan(network, 4).options.card is None
    assert dl.plan(network, 4, device="cuda").options.card is DEFAULT
    plan = dl.plan(network, 4, gpu="rtx3060")
    assert plan.options.device == "cuda"
    assert plan.options.card is BY_NAME["rtx3060"]
    other = dl.plan(network, 64, gpu="rtx3060")
    assert plan.recipe.at(64).plan().to_dict() == other.to_dict()


def test_the_largest_batch_is_that_of_the_card() -> None:
    network = dl.models.vgg16()
    plan = dl.plan(network, 32, gpu="rtx4060", memory="caffe")
    largest, free = plan.largest_batch(), BY_NAME["rtx4060"].free
    assert largest > 32
    here, more = (plan.recipe.at(largest + extra).plan().arena_bytes for extra in (0, 1))
    assert here <= free < more
    with pytest.raises(dl.ArgumentError, match="for the cpu needs the memory"):
        dl.plan(dl.models.lenet(10, (32, 32, 1)), 4).largest_batch()


def test_the_largest_batch_of_a_plan_with_a_budget_keeps_it() -> None:
    network = dl.Sequential(dl.Input((64,)), dl.Linear(64), dl.Tanh(), dl.Linear(10))
    budget = 2 * dl.plan(network, 64, gpu="l4").arena_bytes
    plan = dl.plan(network, 64, gpu="l4", budget=budget)
    largest = plan.largest_batch()
    assert largest > 64
    assert plan.recipe.at(largest).plan().arena_bytes <= budget
    with pytest.raises(dl.BudgetError):
        plan.recipe.at(largest + 1).plan()
