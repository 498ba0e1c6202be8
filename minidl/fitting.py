"""The largest batch that fits, found by few plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

from minidl.ir.errors import LimitError

MOST = 2**24
"""Where the search stops: nobody trains such a batch in one step."""

STRAIGHT = 8
"""Guesses along a line; after them the interval is halved, whatever the bytes look like."""

NEAR = 4
"""Guesses of `nearly_largest` at most."""


def largest_fitting(
    needs: Callable[[int], int],
    limit: int,
    start: int = 1,
    known: Mapping[int, int] = MappingProxyType({}),
    near: float = 0,
) -> int:
    """The largest batch whose `needs` are at most `limit` bytes; 0 if not even 1 fits.

    Bytes grow nearly linearly with the batch, so each guess is where the line through the two
    nearest known batches meets the limit, until no card can launch a guess: LimitError. The result
    fits, and the next larger batch does not; with `near`, guesses end that part of it earlier.
    known: bytes of some batches, of 0, too.
    """
    known, given = dict(known), len(known)
    low = max((batch for batch, size in known.items() if size <= limit), default=0)
    high = min((batch for batch, size in known.items() if size > limit), default=MOST + 1)
    if high <= low:
        return 0  # what no batch changes is too much
    straight, guess = True, max(1, start)
    if len(known) > 1:
        guess = _on_the_line(known, limit, low, high)
    while high - low > 1 and (guess > low * (1 + near) or not low):
        guess = min(max(guess, low + 1), high - 1)
        try:
            known[guess] = needs(guess)
        except LimitError:
            straight = False
        fits = guess in known and known[guess] <= limit
        low, high = (guess, high) if fits else (low, guess)
        guess = (low + high) // 2
        if straight and len(known) - given <= STRAIGHT:
            guess = _on_the_line(known, limit, low, high)
        guess = guess if near else max(guess, low + 1)
    return low


def _on_the_line(known: dict[int, int], limit: int, low: int, high: int) -> int:
    """Where the line through the two known batches nearest to the interval meets `limit`."""
    if len(known) == 1:
        return 2 * low if low else high // 2
    a, b = sorted(sorted(known, key=lambda size: abs(known[size] - limit))[:2])
    slope = (known[b] - known[a]) / (b - a)
    return int(a + (limit - known[a]) / slope) if slope > 0 else (low + min(high, 4 * b)) // 2


def largest_about(
    needs: Callable[[int], int], about: Callable[[int], int], limit: int, start: int = 1
) -> int:
    """The same where `about` says for little what `needs` says for much: guesses are the largest
    batches by `about`, corrected by what was known of it last."""
    about, known = cache(about), cache(needs)
    guess, low, high = largest_fitting(about, limit, start), 0, MOST + 1
    for _ in range(NEAR):
        guess = min(max(guess, low + 1), high - 1)
        try:
            size = known(guess)
        except LimitError:
            break
        low, high = (guess, high) if size <= limit else (low, guess)
        if high - low <= 1:
            return low
        guess = largest_fitting(about, limit * about(guess) // size, guess)
    return largest_fitting(known, limit, guess)


def nearly_largest(
    needs: Callable[[int], int], about: Callable[[int], int], limit: int, start: int = 1
) -> int:
    """The same where `needs` is too dear to be asked about a batch that will hardly fit: the result
    fits, and by `about` it is the largest."""
    about = cache(about)
    guess, low, room = largest_fitting(about, limit, start), 0, limit
    for _ in range(NEAR):
        if guess <= low:
            break
        size = needs(guess)
        room = limit * about(guess) // size
        if size <= limit:
            low = guess
            guess = largest_fitting(about, room, guess)
        else:
            guess = min(guess - 1, largest_fitting(about, room, guess))
            if low:
                break
    return low or largest_fitting(needs, limit, max(1, guess))
