"""What the ops do to arrays: equations in `tests.outside.smooth.layers`."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array, How, Op
from minidl.ops.host import CHUNK, run_chunks
from minidl.ops.pixels import as_pixels, rows_per_chunk
from minidl.ops.target import on_host
from minidl.options import Options


def softplus_forward(y: Array, x: Array, *, beta: float) -> None:
    np.divide(np.logaddexp(0, x * beta), beta, out=y)


def softplus_dgrad(dx: Array, dy: Array, y: Array, *, beta: float) -> None:
    np.multiply(dy, -np.expm1(y * -beta), out=dx)


def _logistic(z: Array) -> Array:
    half: Array = np.tanh(z * 0.5)
    return half * 0.5 + 0.5


def swish_forward(y: Array, x: Array, beta: Array) -> None:
    out, pixels = as_pixels(y), as_pixels(x)

    def chunk(rows: slice) -> None:
        part = pixels[rows]
        np.multiply(part, _logistic(part * beta), out=out[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def swish_dgrad(dx: Array, dy: Array, x: Array, beta: Array) -> None:
    gradient, arriving, pixels = as_pixels(dx), as_pixels(dy), as_pixels(x)

    def chunk(rows: slice) -> None:
        z = pixels[rows] * beta
        s = _logistic(z)
        np.multiply(arriving[rows], s + z * s * (1 - s), out=gradient[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def swish_wgrad(dbeta: Array, scratch: Array, dy: Array, x: Array, beta: Array) -> None:
    """Partial sums in a fixed order: the bits do not depend on the number of cores."""
    arriving, pixels = as_pixels(dy), as_pixels(x)
    sums, share = scratch.reshape(-1, dbeta.size), rows_per_chunk(pixels)

    def chunk(rows: slice) -> None:
        part = pixels[rows]
        s = _logistic(part * beta)
        terms = arriving[rows] * part * part * s * (1 - s)
        np.add.reduce(terms, axis=0, out=sums[rows.start // share])

    run_chunks(chunk, len(pixels), share)
    np.add.reduce(sums, axis=0, out=dbeta)


@on_host(swish_wgrad)
def _partial_sums(op: Op, _: Options) -> How:
    """One for each chunk of rows."""
    x, channels = op.reads[1], op.writes[0].size
    chunks = -(-(x.size // channels) // max(1, CHUNK // channels))
    return How(scratch=chunks * channels)
