"""Launches of pooling."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import How, Op, Takes, Tensor
from minidl.ops import pool2d as ops
from minidl.ops.cuda.launch import Address, Argument, CppFile, Launch, by_thread, division, ints
from minidl.ops.cuda.operands import (
    ctype,
    pixel_pitch,
    sink,
    sink_tensors,
    sources_of_epilogue,
    width_of_vectors,
)
from minidl.ops.cuda.rules import rule
from minidl.ops.window import Window
from minidl.options import Options

FILE = CppFile("pool2d.cu")


def _geometry(window: Window | None, x: Tensor, y: Tensor) -> Argument:
    """The fields of `Geometry`."""
    sizes = ints(*x.shape[1:3], *y.shape[1:3])
    if window is None:
        return (*sizes, *((ints(0, 0),) * 4))
    pairs = (window.kernel, window.stride, window.padding, window.dilation)
    return (*sizes, *(ints(*pair) for pair in pairs))


def _place(t: Tensor, vectors: int) -> tuple[Argument, int]:
    """The fields of `Place`, and the threads: `vectors` for each pixel of `t`."""
    pixels = math.prod(t.shape[:3])
    height, width = t.shape[1:3]
    threads = pixels * vectors
    return (division(vectors), division(width), division(height), np.int64(threads)), threads


def _mask(argmax: Tensor, channels: int, bits: int | None) -> tuple[int, int]:
    """Elements of argmax in a pixel; bits of one, 0 where each has elements of its own."""
    return (argmax.shape[-1], bits) if bits else (channels, 0)


def _threads_of_a_pixel(channels: int, width: int, bits: int) -> int:
    """A thread has whole vectors, and whole bytes of argmax."""
    return -(-channels // max(width, 8 // bits if bits else 1))


def _finishing(_op: Op, _: Options) -> How:
    return How(takes=Takes(finishes=True))


@rule(ops.maxpool2d_forward, file=FILE, how=_finishing)
def maxpool2d_forward(op: Op) -> list[Launch]:
    (y, argmax, *_), (x,) = op.writes, op.reads
    channels, window = x.shape[-1], op.attributes["window"]
    groups, bits = _mask(argmax, channels, op.attributes.get("bits"))
    large = [x, *sink_tensors(op, y)]
    gaps = (pixel_pitch(t) for t in large)
    width = width_of_vectors([*large, argmax], channels, *gaps)
    kind, to = sink(op, y, pixel_pitch)
    place, threads = _place(y, _threads_of_a_pixel(channels, width, bits))
    arguments = (
        to,
        Address(argmax),
        Address(x),
        _geometry(window, x, y),
        place,
        *ints(pixel_pitch(x), channels, groups),
    )
    kernel = f"maxpool2d_forward<{width}, {bits}, {ctype(x)}, {ctype(argmax)}, {kind}>"
    more = sources_of_epilogue(op)
    return [by_thread(kernel, FILE, threads, arguments, more)]


@rule(ops.maxpool2d_dgrad, file=FILE)
def maxpool2d_dgrad(op: Op) -> list[Launch]:
    (dx,), (dy, argmax) = op.writes, op.reads
    channels, window = dx.shape[-1], op.attributes["window"]
    groups, bits = _mask(argmax, channels, op.attributes.get("bits"))
    gaps = (pixel_pitch(dx), pixel_pitch(dy))
    width = width_of_vectors([dx, dy, argmax], channels, *gaps)
    place, threads = _place(dx, _threads_of_a_pixel(channels, width, bits))
    arguments = (
        *(Address(t) for t in (dx, dy, argmax)),
        _geometry(window, dx, dy),
        place,
        *ints(*gaps, channels, groups),
    )
    kernel = f"maxpool2d_dgrad<{width}, {bits}, {ctype(dx)}, {ctype(argmax)}>"
    return [by_thread(kernel, FILE, threads, arguments)]


@rule(
    ops.avgpool2d_forward,
    ops.avgpool2d_dgrad,
    ops.adaptive_avgpool2d_forward,
    ops.adaptive_avgpool2d_dgrad,
    file=FILE,
)
def average(op: Op) -> list[Launch]:
    (to,), (source,) = op.writes, op.reads
    forward = op.function in (ops.avgpool2d_forward, ops.adaptive_avgpool2d_forward)
    x, y = (source, to) if forward else (to, source)
    gaps = (pixel_pitch(to), pixel_pitch(source))
    width = width_of_vectors([x, y], x.shape[-1], *gaps)
    place, threads = _place(to, to.shape[-1] // width)
    padded = int(op.attributes.get("count_include_pad", False))
    geometry = _geometry(op.attributes.get("window"), x, y)
    arguments = (Address(to), Address(source), geometry, place, *ints(*gaps, padded))
    kernel = f"{op.function.__name__}<{width}, {ctype(x)}>"
    counted = max(threads, _counted(op.attributes.get("window"), x, y))
    return [by_thread(kernel, FILE, threads, arguments, counted=counted)]


def _counted(window: Window | None, x: Tensor, y: Tensor) -> int:
    """Of averages: the elements of a window; or of a bin, and a position times the bins."""
    if window is not None:
        return math.prod(window.kernel)
    (_, height, width, _), (_, rows, columns, _) = x.shape, y.shape
    return max(height * width, height * (rows + 1), width * (columns + 1))
