"""Dropout against a Philox of one counter at a time."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pytest

from minidl.ir import Array
from minidl.layers.dropout import Dropout
from minidl.ops.dropout import dropout_dgrad, dropout_forward
from minidl.philox import philox4x32, random_words
from tests.layers.harness import BadCase, Case, Check, each_check, each_refusal, refuses

KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
"""Counter, key, words: the first three are digits of pi; from the authors' Random123."""


def one_block(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 as the paper defines it."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = q >> 32 ^ b ^ k, q % 2**32, p >> 32 ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return [a, b, c, d]


def word(i: int, key: int, step: int, stream: int) -> int:
    counter = [i // 4 % 2**32, i // 4 >> 32, step % 2**32, stream]
    return one_block(counter, [key % 2**32, key >> 32])[i % 4]


def dropout(p: float) -> Any:
    def reference(x: Array, random_key: Array, step: Array) -> Array:
        stream, y = zlib.crc32(b"layer"), np.zeros(x.size)
        for i, value in enumerate(x.ravel()):
            if word(i, int(random_key), int(step), stream) >= p * 2**32:
                y[i] = value / (1 - p)
        return y.reshape(x.shape)

    return reference


def same(x: Array) -> Array:
    return x


CASES = [
    Case("half", Dropout, ((2, 3, 3, 5),), dropout(0.5)),
    Case("fifth", lambda: Dropout(0.2), ((3, 71),), dropout(0.2)),
    Case("most", lambda: Dropout(0.9), ((7, 11, 5, 3),), dropout(0.9)),
    Case("chunks", lambda: Dropout(0.3), ((5, 7001),), dropout(0.3)),
    Case("none", lambda: Dropout(0), ((2, 9),), same),
    Case("inference", Dropout, ((2, 9),), same, training=False),
]

BAD = [
    BadCase("one", lambda: Dropout(1.0), ((2, 9),), "p must be a number in [0, 1), got 1.0"),
    BadCase("negative", lambda: Dropout(-0.1), ((2, 9),), "p must be a number in [0, 1)"),
    BadCase("nan", lambda: Dropout(math.nan), ((2, 9),), "p must be a number in [0, 1)"),
]


@each_check(CASES)
def test_dropout(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter: list[int], key: list[int], words: list[int]) -> None:
    assert one_block(counter, key) == words
    a, b, c, d = (np.array([value], np.uint64) for value in counter)
    assert [int(w[0]) for w in philox4x32((a, b, c, d), (key[0], key[1]))] == words


@pytest.mark.parametrize("start", [0, 1, 6, 4 * 2**32 - 3, 2**40 + 2])
def test_random_words_of_any_range(start: int) -> None:
    key, step, stream = 0x299F31D0A4093822, 2**33 + 5, 0xFFFFFFFE
    found = random_words(start, 13, key=key, step=step, stream=stream)
    assert found.dtype == np.uint32
    assert found.tolist() == [word(start + i, key, step, stream) for i in range(13)]


def test_masks_differ_by_step_stream_and_key() -> None:
    x, seen = np.ones(4096, np.float32), set()
    for key, step, stream in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)):
        y = np.empty_like(x)
        state = np.array(key, np.uint64), np.array(step)
        dropout_forward(y, x, *state, p=0.25, stream=stream)
        assert abs(np.mean(y == 0) - 0.25) < 0.04
        assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
        seen.add(y.tobytes())
    assert len(seen) == 4


def test_dropped_is_positive_zero_and_never_nan() -> None:
    x, state = np.array([-1.0, np.inf, np.nan, 1.0] * 64), (np.array(5, np.uint64), np.array(0))
    kept = np.empty_like(x)
    dropout_dgrad(kept, np.ones_like(x), *state, p=0.5, stream=3)
    y = np.empty_like(x)
    dropout_forward(y, x, *state, p=0.5, stream=3)
    assert not y[kept == 0].view(np.int64).any()
