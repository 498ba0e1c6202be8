"""The known GPUs, and what a GPU that is none of them is taken for.

`Card` in minidl/ir/card.py says what each field means. A card's `peaks` are its maker's figures,
dense, with sums in float32: GeForce's tensor cores then run at half of their rate, those of the
cards for data centres do not. What driver and context keep is assumed until it is measured.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import replace

from minidl.ir import ArgumentError
from minidl.ir.card import Architecture, Card, Peaks

KIB, MIB, GIB = 2**10, 2**20, 2**30
GIGA, TERA = 1e9, 1e12

ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture("sm_80", 80, 2048, 32, 164 * KIB, 163 * KIB),
        Architecture("sm_86", 86, 1536, 16, 100 * KIB, 99 * KIB),
        Architecture("sm_89", 89, 1536, 24, 100 * KIB, 99 * KIB),
        Architecture("sm_90a", 90, 2048, 32, 228 * KIB, 227 * KIB, mma=0.62),
        Architecture("sm_100", 100, 2048, 32, 228 * KIB, 227 * KIB, mma=0.62),
        Architecture("sm_120", 120, 1536, 24, 100 * KIB, 99 * KIB),
    )
}
"""By name, from the oldest that the kernels need. `mma`: arXiv 2402.13499 measured that mma.sync
reaches 62 % of wgmma's rate on Hopper; of sm_100, which has such an instruction too, the same is
assumed."""


def kept(memory: int) -> int:
    """Bytes of `memory` that are assumed to be kept: 2 % by the driver, 512 MiB by the context.

    What CUDA calls the whole memory is 1 to 2 % less than what is on the card, as people report it:
    23.68 GiB of 24 (RTX 4090), 31.36 of 32 (RTX 5090), 79.11 of 80 (H100), 139.72 of 141 (H200).
    """
    return memory // 50 + 512 * MIB


def _card(
    name: str,
    title: str,
    architecture: str,
    multiprocessors: int,
    clock: float,
    memory: int,
    l2: int,
    peaks: tuple[float, float, float],
    rates: tuple[float, float],
    aliases: tuple[str, ...],
    sources: tuple[str, ...],
    corrected: int = 0,
    l2_clock: int = 0,
) -> Card:
    """Clock in MHz, `memory` in GiB, `l2` in MiB, `peaks` (simt, tf32, bf16) in TFLOP/s, `rates` of
    memory and bus in GB/s; `corrected`: bytes that error correction takes of the memory;
    `l2_clock`: bytes a clock of the L2, assumed where it is not said."""
    of_a_clock = l2_clock or L2_OF_A_CLOCK * multiprocessors
    return Card(
        name=name,
        title=f"NVIDIA {title}",
        limits=ARCHITECTURES[architecture],
        multiprocessors=multiprocessors,
        l2=l2 * MIB,
        memory=memory * GIB,
        kept=kept(memory * GIB) + corrected,
        clock=clock * 1e6,
        peaks=Peaks(*(p * TERA for p in peaks)),
        bandwidth=rates[0] * GIGA,
        pcie=rates[1] * GIGA,
        l2_bandwidth=of_a_clock * clock * 1e6,
        sources=sources,
        aliases=aliases,
        assumed=("kept", "launch") if l2_clock else ("kept", "launch", "l2_bandwidth"),
    )


L2_OF_A_CLOCK = 40
"""Bytes a clock and multiprocessor, where nobody says how fast the L2 is."""


GA102 = (
    "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.1.pdf"
)
ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
BLACKWELL = (
    "https://images.nvidia.com/aem-dam/Solutions/geforce/blackwell/"
    "nvidia-rtx-blackwell-gpu-architecture.pdf"
)
A100 = (
    "https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/"
    "nvidia-ampere-architecture-whitepaper.pdf"
)
HOPPER = "https://developer.nvidia.com/blog/nvidia-hopper-architecture-in-depth/"
SPECS = "https://www.techpowerup.com/gpu-specs"
L2_SOURCE = "https://pmc.ncbi.nlm.nih.gov/articles/PMC10448217/table/t0015"
L2_LARGE = 5120
"""Bytes a clock: `A100` says it of the A100, `L2_SOURCE` has both at their clocks, 7,219 and
8,986 GB/s."""

GEN4_X8, GEN4_X16, GEN5_X16 = 15.8, 31.5, 63.0
"""GB/s of PCI Express one way: lanes x 16 or 32 GT/s x 128 / 130 / 8."""

CARDS: tuple[Card, ...] = (
    _card(
        "rtx3060", "GeForce RTX 3060", "sm_86", 28, 1777, 12, 3,
        (12.7, 12.7, 25.5), (360, GEN4_X16), ("3060",),
        (f"{SPECS}/geforce-rtx-3060-12-gb.c3682", GA102),
    ),
    _card(
        "rtx3090", "GeForce RTX 3090", "sm_86", 82, 1695, 24, 6,
        (35.6, 35.6, 71.0), (936, GEN4_X16), ("3090",), (GA102,),
    ),
    _card(
        "rtx4060", "GeForce RTX 4060", "sm_89", 24, 2460, 8, 24,
        (15.1, 15.1, 30.2), (272, GEN4_X8), ("4060",),
        (f"{SPECS}/geforce-rtx-4060.c4107", ADA),
    ),
    _card(
        "rtx4070", "GeForce RTX 4070", "sm_89", 46, 2475, 12, 36,
        (29.1, 29.1, 58.3), (504, GEN4_X16), ("4070",),
        (f"{SPECS}/geforce-rtx-4070.c3924", ADA),
    ),
    _card(
        "rtx4090", "GeForce RTX 4090", "sm_89", 128, 2520, 24, 72,
        (82.6, 82.6, 165.2), (1008, GEN4_X16), ("4090",), (ADA,),
    ),
    _card(
        "rtx5090", "GeForce RTX 5090", "sm_120", 170, 2407, 32, 96,
        (104.8, 104.8, 209.5), (1792, GEN5_X16), ("5090",), (BLACKWELL,),
    ),
    _card(
        "l4", "L4", "sm_89", 58, 2040, 24, 48,
        (30.3, 60.5, 121.0), (300, GEN4_X16), (),
        ("https://www.nvidia.com/en-us/data-center/l4/", ADA),
        corrected=3 * GIB // 2,
    ),
    _card(
        "a100", "A100 40 GB", "sm_80", 108, 1410, 40, 40,
        (19.5, 156.0, 312.0), (1555, GEN4_X16),
        ("a100-40gb", "a100-sxm4-40gb", "a100-pcie-40gb"),
        ("https://developer.nvidia.com/blog/nvidia-ampere-architecture-in-depth/", A100),
        l2_clock=L2_LARGE,
    ),
    _card(
        "a100-80gb", "A100 80 GB", "sm_80", 108, 1410, 80, 40,
        (19.5, 156.0, 312.0), (2039, GEN4_X16),
        ("a100-sxm4-80gb", "a100-80gb-pcie"),
        ("https://www.nvidia.com/en-us/data-center/a100/", A100),
        l2_clock=L2_LARGE,
    ),
    _card(
        "h100", "H100 SXM", "sm_90a", 132, 1830, 80, 50,
        (60.0, 495.0, 989.0), (3352, GEN5_X16),
        ("h100-sxm", "h100-sxm5", "h100-80gb", "h100-80gb-hbm3"),
        ("https://www.nvidia.com/en-us/data-center/h100/", HOPPER, L2_SOURCE),
        l2_clock=L2_LARGE,
    ),
    _card(
        "h100-pcie", "H100 PCIe", "sm_90a", 114, 1755, 80, 50,
        (51.0, 378.0, 756.0), (2039, GEN5_X16), (),
        ("https://www.nvidia.com/en-us/data-center/h100/", HOPPER, L2_SOURCE),
        l2_clock=L2_LARGE,
    ),
    _card(
        "h200", "H200", "sm_90a", 132, 1830, 141, 50,
        (67.0, 495.0, 989.0), (4800, GEN5_X16), ("h200-sxm", "h200-141gb"),
        ("https://www.nvidia.com/en-us/data-center/h200/", HOPPER, L2_SOURCE),
        l2_clock=L2_LARGE,
    ),
)  # fmt: skip
"""In float32, 60 TFLOP/s are what NVIDIA first said of the H100 (`HOPPER`), 67 what its data sheet
has by now. All published plans of the default card are with 60."""

BY_NAME = {card.name: card for card in CARDS}

DEFAULT = BY_NAME["h100"]
"""What plans for cuda are for where nothing names a card."""

ANYWHERE = "device='cpu' runs anywhere"
"""The way out where a GPU is missing or too old."""

TOO_OLD = {
    "t4": ("NVIDIA T4", "sm_75"),
    "v100": ("NVIDIA V100", "sm_70"),
    "rtx2080ti": ("NVIDIA GeForce RTX 2080 Ti", "sm_75"),
}
"""Cards that many people ask for and that the kernels do not run on."""

REFERENCE = {
    "sm_80": "a100",
    "sm_86": "rtx3090",
    "sm_89": "rtx4090",
    "sm_90a": "h100",
    "sm_100": "h200",
    "sm_120": "rtx5090",
}
"""What a card that is in no table is scaled from."""


def named(name: str) -> Card:
    """The card of that name, however it is written; ArgumentError names those that there are."""
    word = _plain(name)
    for card in CARDS:
        if word in _plain_names(card):
            return card
    if word in TOO_OLD:
        title, architecture = TOO_OLD[word]
        raise ArgumentError(
            f"GPU {name!r} is {title}, {architecture}: the kernels need sm_80 or newer (Ampere, "
            "2020)",
            ANYWHERE,
        )
    near = dict.fromkeys(_near(word))
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ArgumentError(f"unknown GPU {name!r}", f"{hint}choose from {', '.join(BY_NAME)}")


def card_of(card: Card | None) -> Card:
    """The card itself, or the default one."""
    return DEFAULT if card is None else card


def present(name: str, capability: int, multiprocessors: int, memory: int) -> Card:
    """The card that a driver describes so; `memory` in bytes, `capability` as 90 for 9.0.

    One of the table where all of that fits; else one made of what was said, its other numbers
    scaled from the reference card of its architecture by the multiprocessors.
    """
    limits = architecture_of(capability)
    for card in CARDS:
        same = card.limits == limits and card.multiprocessors == multiprocessors
        if same and _plain(name) in _plain_names(card) and 0.9 < memory / card.memory < 1.1:
            return card
    like = BY_NAME[REFERENCE[_known(capability).name]]
    share = multiprocessors / like.multiprocessors
    return replace(
        like,
        name=name,
        title=name,
        limits=limits,
        multiprocessors=multiprocessors,
        l2=int(like.l2 * share),
        memory=memory,
        kept=512 * MIB,
        peaks=like.peaks.times(share),
        bandwidth=like.bandwidth * share,
        l2_bandwidth=like.l2_bandwidth * share,
        sources=(),
        aliases=(),
        assumed=("kept", "l2", "clock", "peaks", "bandwidth", "pcie", "l2_bandwidth", "launch"),
    )


def architecture_of(capability: int) -> Architecture:
    """What is known of a compute capability; of one that is in no table, what the one below has."""
    known = _known(capability)
    if known.capability == capability:
        return known
    return replace(known, name=f"sm_{capability}", capability=capability)


def standing_for(capability: int) -> Card:
    """The reference card of a compute capability."""
    card = BY_NAME[REFERENCE[_known(capability).name]]
    return replace(card, limits=architecture_of(capability))


def _known(capability: int) -> Architecture:
    older = [a for a in ARCHITECTURES.values() if a.capability <= capability]
    if not older:
        raise ArgumentError(f"sm_{capability} is older than all that the kernels run on")
    return older[-1]


def _plain(name: str) -> str:
    """A name without its maker, spaces and marks: `NVIDIA GeForce RTX 3060` is rtx3060."""
    return re.sub(r"nvidia|geforce|tesla|[^a-z0-9]", "", name.lower())


def _plain_names(card: Card) -> set[str]:
    return {_plain(name) for name in (card.name, *card.aliases)}


def _near(word: str) -> Iterator[str]:
    """Names of cards that are written nearly so."""
    known = {plain: card.name for card in CARDS for plain in sorted(_plain_names(card))}
    for found in difflib.get_close_matches(word, known, 3):
        yield known[found]
