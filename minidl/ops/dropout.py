"""Dropout: the mask of element i follows from its random word; see `minidl.layers.dropout`."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Array
from minidl.ops.host import CHUNK, run_chunks
from minidl.philox import random_words


def dropout_forward(y: Array, x: Array, key: Array, step: Array, *, p: float, stream: int) -> None:
    to, source = y.reshape(-1), x.reshape(-1)
    scale, threshold = 1 / (1 - p), math.ceil(p * 2**32)
    bits = to.view(f"i{to.itemsize}")  # the product of bits and 0 is +0, whatever the sign

    def chunk(i: slice) -> None:
        words = random_words(i.start, i.stop - i.start, key=int(key), step=int(step), stream=stream)
        np.multiply(source[i], scale, out=to[i])
        np.multiply(bits[i], words >= threshold, out=bits[i])

    run_chunks(chunk, to.size, CHUNK // 4)  # each word of four takes 8 bytes while it is made


def dropout_dgrad(dx: Array, dy: Array, key: Array, step: Array, *, p: float, stream: int) -> None:
    dropout_forward(dx, dy, key, step, p=p, stream=stream)
