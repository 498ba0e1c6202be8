"""The largest batch that fits, found by few plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from minidl.ir.errors import LimitError

MOST = 2**24
"""Where the search stops: nobody trains such a batch in one step."""

STRAIGHT = 8
"""Guesses along a line; after them the interval is halved, whatever the bytes look like."""

NOTHING: Mapping[int, int] = MappingProxyType({})


def largest_fitting(
    needs: Callable[[int], int], limit: int, start: int = 1, before: Mapping[int, int] = NOTHING
) -> int:
    """The largest batch whose `needs` are at most `limit` bytes; 0 if not even 1 fits.

    Bytes grow nearly linearly with the batch, so each guess is where the line through the two
    nearest known batches meets the limit, until no card can launch a guess: LimitError. The result
    fits, and the next larger batch does not. before: what is known of some batches already.
    """
    known = dict(before)
    low = max((n for n, needed in known.items() if needed <= limit), default=0)
    high = min((n for n in known if n > low), default=MOST + 1)
    straight, guess = True, max(1, start)
    if known:
        guess = _on_the_line(known, limit, low, high)
    while high - low > 1:
        guess = min(max(guess, low + 1), high - 1)
        try:
            known[guess] = needs(guess)
        except LimitError:
            straight = False
        fits = guess in known and known[guess] <= limit
        low, high = (guess, high) if fits else (low, guess)
        guess = (low + high) // 2
        if straight and len(known) - len(before) <= STRAIGHT:
            guess = _on_the_line(known, limit, low, high)
    return low


def _on_the_line(known: dict[int, int], limit: int, low: int, high: int) -> int:
    """Where the line through the two known batches nearest to the interval meets `limit`."""
    if len(known) == 1:
        return 2 * low if low else high // 2
    a, b = sorted(sorted(known, key=lambda size: abs(known[size] - limit))[:2])
    slope = (known[b] - known[a]) / (b - a)
    return int(a + (limit - known[a]) / slope) if slope > 0 else (low + min(high, 4 * b)) // 2
