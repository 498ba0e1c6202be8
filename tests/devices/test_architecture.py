"""Which code a card gets from a compiler, and which cards get none."""

from __future__ import annotations

import pytest

from minidl.cards import DEFAULT
from minidl.devices.architecture import (
    ArchitectureError,
    CodeTarget,
    architecture_for,
    card_named,
)
from minidl.ir import ArgumentError

OLD = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90)
"""What NVRTC 12.4 names."""
NEW = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)
"""What NVRTC 13.0 names."""


@pytest.mark.parametrize(
    ("capability", "supported", "name"),
    [
        (80, OLD, "sm_80"),
        (86, OLD, "sm_86"),
        (89, OLD, "sm_89"),
        (90, OLD, "sm_90a"),
        (100, NEW, "sm_100"),
        (120, NEW, "sm_120"),
        (88, OLD, "sm_87"),
        (89, (80, 86), "sm_86"),
        (86, (80, 89), "sm_80"),
        (121, (90, 100, 120), "sm_120"),
        (103, (100, 110, 120), "sm_100"),
        (92, OLD, "sm_90"),
        (100, OLD, "compute_90"),
        (120, OLD, "compute_90"),
        (120, (100, 103, 110), "compute_110"),
        (110, (90, 100, 103, 120), "compute_103"),
        (90, (70, 75, 80), "compute_80"),
        (90, (89, 90, 100)[::-1], "sm_90a"),
    ],
)
def test_what_a_card_gets(capability: int, supported: tuple[int, ...], name: str) -> None:
    chosen = architecture_for(capability, supported)
    assert chosen.name == name
    assert chosen.is_ptx == name.startswith("compute_")
    own = capability in supported
    assert bool(chosen.said) == (not own)
    if not own:
        assert f"sm_{capability}" in chosen.said
        assert name in chosen.said
        assert "\n" not in chosen.said
        assert chosen.capability < capability


@pytest.mark.parametrize("capability", range(80, 140))
@pytest.mark.parametrize("supported", [OLD, NEW, (80,), (90, 120)])
def test_a_card_can_load_what_it_gets(capability: int, supported: tuple[int, ...]) -> None:
    if capability < min(n for n in supported if n >= 80):
        with pytest.raises(ArchitectureError, match=f"nothing that sm_{capability} runs"):
            architecture_for(capability, supported)
        return
    chosen = architecture_for(capability, supported)
    assert chosen.capability in supported
    assert chosen.capability <= capability
    assert chosen.is_ptx or chosen.capability // 10 == capability // 10
    if chosen.name.endswith("a"):
        assert chosen.capability == capability, "code with the letter runs on that chip alone"


@pytest.mark.parametrize("capability", [37, 60, 75, 79])
def test_a_card_too_old_is_refused(capability: int) -> None:
    with pytest.raises(ArchitectureError, match=r"the kernels need 8\.0 or newer"):
        architecture_for(capability, OLD)


def test_a_compiler_that_knows_nothing_old_enough() -> None:
    with pytest.raises(ArchitectureError, match="it knows sm_100, sm_120"):
        architecture_for(80, (120, 100))


def test_names_of_cards() -> None:
    assert card_named("h100") == card_named("H100") == card_named("sm_90a") == DEFAULT
    assert card_named("sm_90").limits.capability == 90
    assert card_named("rtx3060").limits.capability == 86
    assert card_named("sm_120").limits.capability == 120
    assert card_named("sm_103").limits.capability == 103  # in no table


@pytest.mark.parametrize("gpu", ["h10", "", "sm_", "sm_x", "90", "sm_9 0"])
def test_a_name_that_nobody_knows(gpu: str) -> None:
    with pytest.raises(ArgumentError, match=r"unknown GPU .*choose from .*h100"):
        card_named(gpu)


def test_a_named_card_too_old() -> None:
    with pytest.raises(ArchitectureError, match=r"^sm_75 has compute capability 7\.5"):
        card_named("sm_75")
    with pytest.raises(ArgumentError, match="T4, sm_75: the kernels need sm_80"):
        card_named("t4")


def test_the_capability_of_an_architecture() -> None:
    assert CodeTarget("sm_90a").capability == 90
    assert CodeTarget("compute_120").capability == 120
