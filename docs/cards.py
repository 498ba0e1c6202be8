"""Tables of docs/cards.md."""

from __future__ import annotations

from docs.rows import table
from minidl.cards import CARDS
from minidl.ir.card import Card


def cards_table() -> str:
    """Every card that can be named."""
    head = (
        "`--gpu`", "architecture", "SM", "shared", "L2, MiB", "memory, GiB", "free, GiB", "MHz",
        "float32", "TF32", "bf16", "memory, GB/s", "bus, GB/s",
    )  # fmt: skip
    return table(head, map(_card_row, CARDS))


def _card_row(card: Card) -> list[str]:
    limits, peaks = card.limits, card.peaks
    sizes = card.memory / 2**30, card.free / 2**30
    return [
        f"`{card.name}`",
        f"{card.architecture}",
        f"{card.multiprocessors}",
        f"{limits.shared // 1024}, {limits.shared_of_a_block // 1024}",
        f"{card.l2 >> 20}",
        *(f"{size:.1f}" for size in sizes),
        f"{card.clock / 1e6:,.0f}",
        *(f"{peak / 1e12:,.1f}" for peak in (peaks.simt, peaks.tf32, peaks.bf16)),
        f"{card.bandwidth / 1e9:,.0f}",
        f"{card.pcie / 1e9:.1f}",
    ]


def card_sources() -> str:
    """Where each card's numbers are from."""
    rows = []
    for card in CARDS:
        links = (f"[{i}]({link})" for i, link in enumerate(card.sources, start=1))
        rows.append(f"- {card.title}: {', '.join(links)}")
    return "\n".join(rows)
