"""Which machine code a card gets: what the compiler at hand can make, and the card can load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minidl import cards
from minidl.ir import MinidlError
from minidl.ir.card import Card

OLDEST = 80
"""sm_80: the first with cp.async, bf16 and TF32."""
WITH_SPECIAL_UNITS = (90,)
"""Chips whose own instructions (wgmma, setmaxnreg) are compiled for by the letter a: sm_90a."""


class ArchitectureError(MinidlError):
    """No compiler makes code for a card, or the kernels do not run on it."""


@dataclass(frozen=True)
class CodeTarget:
    """What NVRTC is asked for: machine code of a chip, or PTX that the driver translates."""

    name: str
    """sm_90a: machine code; compute_90: PTX."""
    said: str = ""
    """What a newer compiler would do better, in a line; empty where nothing."""

    @property
    def is_ptx(self) -> bool:
        return self.name.startswith("compute_")

    @property
    def capability(self) -> int:
        return int(self.name.partition("_")[2].rstrip("a"))


def architecture_for(capability: int, supported: Iterable[int]) -> CodeTarget:
    """What a card of a compute capability (90 for 9.0) gets from a compiler that supports some.

    Its own; else the newest of the same major with a minor not above, whose machine code it runs;
    else PTX of the newest below. CUDA C++ Programming Guide, binary and PTX compatibility.
    """
    require_kernels_run(capability, f"sm_{capability}")
    known = sorted(number for number in supported if OLDEST <= number <= capability)
    if not known:
        raise ArchitectureError(
            f"this NVRTC compiles for nothing that sm_{capability} runs: "
            f"it knows {_listed(supported)}"
        )
    newest = known[-1]
    if newest == capability:
        return CodeTarget(f"sm_{newest}{'a' if newest in WITH_SPECIAL_UNITS else ''}")
    same_major = newest // 10 == capability // 10
    name = f"{'sm' if same_major else 'compute'}_{newest}"
    what = "code" if same_major else "PTX, which the driver translates"
    said = (
        f"this NVRTC does not know sm_{capability}: kernels are compiled for {name} ({what}); "
        "a newer one makes the card's own code"
    )
    return CodeTarget(name, said)


def require_kernels_run(capability: int, card: str) -> None:
    """ArchitectureError where a card is too old for the kernels."""
    if capability < OLDEST:
        raise ArchitectureError(
            f"{card} has compute capability {capability // 10}.{capability % 10}: the kernels "
            "need 8.0 or newer (Ampere, 2020)",
            cards.ANYWHERE,
        )


def card_named(gpu: str) -> Card:
    """The card that kernels are to be made for, by its name (h100); for an architecture (sm_90,
    sm_90a) the card that stands for it."""
    digits = gpu.lower().removeprefix("sm_").removesuffix("a")
    if not (gpu.lower().startswith("sm_") and digits.isdigit()):
        return cards.named(gpu)
    require_kernels_run(int(digits), gpu)
    return cards.standing_for(int(digits))


def _listed(supported: Iterable[int]) -> str:
    return ", ".join(f"sm_{number}" for number in sorted(supported)) or "none"
