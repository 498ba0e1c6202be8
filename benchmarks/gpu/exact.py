"""Convolutions and linear layers in float64 on the host, tap by tap: the judge where there is no
PyTorch. For small sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.gpu.alone import values, whole
from minidl.ir import Array, Op, Tensor
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16

Taps = tuple[slice, slice]


def operand(t: Tensor, precision: str) -> Array:
    """What the kernel's arithmetic sees of a tensor, as float64."""
    found = whole(t)
    if precision == "bf16":
        found = from_bfloat16(to_bfloat16(found))
    return found.astype(np.float64)


def error(op: Op, precision: str, raw: Array) -> float:
    """Of the bytes that an op wrote, on the blocks that it read: the error's norm as a share of the
    exact result's; NaN where anything is NaN."""
    exact = product(op, [operand(t, precision) for t in op.reads])
    found = values(op.writes[0], raw).reshape(exact.shape).astype(np.float64)
    return float(np.linalg.norm((found - exact).ravel()) / np.linalg.norm(exact.ravel()))


def product(op: Op, operands: list[Array]) -> Array:
    """The op's first write."""
    name, (first, second, *bias) = op.function.__name__, operands
    if name.startswith("linear"):
        if name == "linear_forward":
            return first @ second.T + (bias[0] if bias else 0.0)
        return first @ second if name == "linear_dgrad" else first.T @ second
    return _convolution(op, first, second, bias)


def _convolution(op: Op, first: Array, second: Array, bias: list[Array]) -> Array:
    """x: (B, H, W, C), w: (K, R, S, C / groups), dy: (B, P, Q, K)."""
    name, groups = op.function.__name__, op.attributes["groups"]
    made = np.zeros(op.writes[0].shape)
    images = {"conv2d_forward": first, "conv2d_dgrad": made, "conv2d_wgrad": second}[name]
    x = _padded(images, op.attributes["window"].padding)
    weights = made if name == "conv2d_wgrad" else second
    outputs = made if name == "conv2d_forward" else first
    for (r, s), at in _taps(op, weights.shape[1:3], outputs.shape[1:3]):
        for g in range(groups):
            c = slice(g * weights.shape[3], (g + 1) * weights.shape[3])
            k = slice(g * weights.shape[0] // groups, (g + 1) * weights.shape[0] // groups)
            seen, tap, y = x[:, at[0], at[1], c], weights[k, r, s], outputs[..., k]
            if name == "conv2d_forward":
                made[..., k] += seen @ tap.T
            elif name == "conv2d_dgrad":
                x[:, at[0], at[1], c] += y @ tap
            else:
                made[k, r, s] += np.tensordot(y, seen, ([0, 1, 2], [0, 1, 2]))
    if name == "conv2d_dgrad":
        (top, left), (h, w) = op.attributes["window"].padding, images.shape[1:3]
        return x[:, top : top + h, left : left + w]
    return made + (bias[0] if bias else 0.0)


def _padded(x: Array, padding: tuple[int, int]) -> Array:
    (h, w) = padding
    return np.pad(x, ((0, 0), (h, h), (w, w), (0, 0)))


def _taps(
    op: Op, kernel: tuple[int, ...], output: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int], Taps]]:
    """Each tap of the filters, and the pixels of the padded images that it sees."""
    window = op.attributes["window"]
    for r, s in np.ndindex(kernel):
        rows, columns = (
            slice(i * d, i * d + (n - 1) * step + 1, step)
            for i, d, n, step in zip((r, s), window.dilation, output, window.stride, strict=True)
        )
        yield (r, s), (rows, columns)
