"""Sums over the rows of a matrix, in a fixed order: the gradient of every bias."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array, How, Op
from minidl.ops.host import PASS, run_chunks
from minidl.ops.pixels import as_pixels
from minidl.ops.target import on_host
from minidl.options import Options

PARTS = 64
"""Partial sums: rounding errors grow with rows / PARTS + PARTS instead of with rows."""


def column_sums(out: Array, scratch: Array, matrix: Array) -> None:
    """out[c] = sum over rows of matrix[row, c], by at most `PARTS` partial sums in `scratch`."""
    rows, columns = matrix.shape
    share = -(-rows // PARTS)
    parts = scratch[: -(-rows // share) * columns].reshape(-1, columns)

    def part(chunk: slice) -> None:
        np.add.reduce(matrix[chunk], axis=0, out=parts[chunk.start // share])

    if share > 1:
        run_chunks(part, rows, share, PASS * matrix.size)
    else:
        np.copyto(parts, matrix)
    np.add.reduce(parts, axis=0, out=out)


def bias_wgrad(db: Array, scratch: Array, dy: Array) -> None:
    """db[k] = sum over samples and pixels of dy[..., k]."""
    column_sums(db, scratch, as_pixels(dy))


@on_host(bias_wgrad)
def _how(op: Op, _: Options) -> How:
    return How(scratch=PARTS * op.writes[0].size)
