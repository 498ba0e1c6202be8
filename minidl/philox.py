"""Philox4x32-10: random numbers as a function of a counter, so that none has to be stored.

Salmon, Moraes, Dror, Shaw, *Parallel random numbers: as easy as 1, 2, 3*, SC 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
"""32-bit words, held in 64 bits so that products of two fit."""

Key = tuple[int, int]

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF
_LOW, _HALF = np.uint64(LOW), np.uint64(32)


def philox4x32(counter: tuple[Words, Words, Words, Words], key: Key) -> tuple[Words, ...]:
    """Four random words for each counter of four words; arrays broadcast."""
    a, b, c, d = counter
    for i in range(ROUNDS):
        left, right = (np.uint64((k + i * w) & LOW) for k, w in zip(key, WEYL, strict=True))
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, c = (second >> _HALF) ^ b ^ left, (first >> _HALF) ^ d ^ right
        b, d = second & _LOW, first & _LOW
    return a, b, c, d


def random_words(start: int, count: int, *, key: int, step: int, stream: int) -> NDArray[np.uint32]:
    """A uniform uint32 for each element [start, start + count) of a tensor.

    Element i has word i % 4 of the block with counter (low and high half of i // 4, low half of
    `step`, `stream`) and key (low and high half of `key`).
    """
    first, last = start // 4, -(-(start + count) // 4)
    block = np.arange(first, last, dtype=np.uint64)
    when, where = np.uint64(step & LOW), np.uint64(stream & LOW)
    counter = (block & _LOW, block >> _HALF, np.full_like(block, when), np.full_like(block, where))
    blocks = np.empty((last - first, 4), np.uint32)
    for word, values in enumerate(philox4x32(counter, (key & LOW, key >> 32))):
        blocks[:, word] = values
    return blocks.reshape(-1)[start - 4 * first :][:count]
