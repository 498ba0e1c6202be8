"""Byte counts as people read them; errors have them too, so nothing is imported."""

from __future__ import annotations


def format_size(count: int) -> str:
    """`count` bytes with three figures or more: `512 B`, `1.50 KiB`, `662.4 MiB`, `5.50 GiB`."""
    if count < 1024:
        return f"{count} B"
    power = 1
    while count >= 1024 ** (power + 1) and power < 3:
        power += 1
    value, unit = count / 1024**power, ("KiB", "MiB", "GiB")[power - 1]
    return f"{value:.2f} {unit}" if value < 100 else f"{value:,.1f} {unit}"


def mib(count: int) -> float:
    return count / 2**20
