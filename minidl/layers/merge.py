"""Layers of several inputs: sums and concatenations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl.host import CHUNK, run_chunks
from minidl.ir import Array, Lowering, Shape, ShapeError, Site, Tensor
from minidl.launches.operands import SUMMED
from minidl.layers.base import Layer


class Merge(Layer):
    """A layer of two or more inputs, each of which has a gradient of its own."""

    def emit(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor:
        """A tensor that is given twice comes in again as a view, whose gradient is added."""
        distinct: list[Tensor] = []
        for x in inputs:
            if x in distinct:
                x = lowering.site(f"{name}.again", None).view(x, x.shape)
            distinct.append(x)
        return super().emit(lowering, name, *distinct)


@dataclass(frozen=True, eq=False)
class Add(Merge):
    """y = x0 + x1 + ..., from left to right, of two or more inputs of one shape.

    Of many inputs it is the sum of some, then of that and more.

    The gradient of every input is dy itself: a view of it, without an op.
    """

    def output_shape(self, *inputs: Shape) -> Shape:
        _require_several(inputs)
        if len(set(inputs)) > 1:
            raise ShapeError("all inputs must have the same shape")
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        shape = self.output_shape(*(x.shape for x in inputs))
        terms, rest = inputs[:SUMMED], inputs[SUMMED:]
        while rest:
            some = site.activation(shape, f"y.{len(rest)}")
            _add(site, some, terms)
            terms, rest = (some, *rest[: SUMMED - 1]), rest[SUMMED - 1 :]
        y = site.activation(shape)
        _add(site, y, terms)
        dy = site.gradient(y)
        for x in inputs:
            site.gradients[x] = Tensor(f"d:{x.name}", x.shape, x.dtype, "gradient", view_of=dy)
        return y


def _add(site: Site, y: Tensor, terms: Sequence[Tensor]) -> None:
    distinct = len({x.storage for x in terms}) == len(terms)
    site.forward(
        add_forward,
        writes=[y],
        reads=terms,
        in_place=tuple((0, j) for j in range(len(terms))) if distinct else (),
        flops=(len(terms) - 1) * y.size,
        elementwise=True,
        pitched=True,
        cheap=True,
    )


@dataclass(frozen=True, eq=False)
class Concat(Merge):
    """y = [x0, x1, ...] along the channels, the last axis; all other axes must agree.

    dx_i is the part of dy that x_i became.
    """

    def output_shape(self, *inputs: Shape) -> Shape:
        _require_several(inputs)
        if len({shape[:-1] for shape in inputs}) > 1:
            raise ShapeError("all inputs must have the same shape but for the channels")
        return *inputs[0][:-1], sum(shape[-1] for shape in inputs)

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        shape = self.output_shape(*(x.shape for x in inputs))
        y = site.activation(shape)
        site.forward(concat_forward, writes=[y], reads=inputs, joins=-1, cheap=True, pitched=True)
        gradients = [site.gradient(x) for x in inputs]
        site.dgrad(concat_dgrad, writes=gradients, reads=[site.gradient(y)], joins=-1, pitched=True)
        return y


def _require_several(inputs: Sequence[Shape]) -> None:
    if len(inputs) < 2:
        raise ShapeError(f"needs two or more inputs, got {len(inputs)}")


def add_forward(y: Array, first: Array, second: Array, *more: Array) -> None:
    """No input is read after a byte of y is written, so y may lie over any of them."""
    *middle, last = (second, *more)
    total = first
    for x in middle:
        total = total + x
    np.add(total, last, out=y)


def concat_forward(y: Array, *inputs: Array) -> None:
    for x, columns in _columns(inputs):
        _copy_rows(_rows(y)[:, columns], _rows(x))


def concat_dgrad(*gradients: Array) -> None:
    """The arguments are dx0, dx1, ..., dy."""
    *parts, dy = gradients
    for dx, columns in _columns(parts):
        _copy_rows(_rows(dx), _rows(dy)[:, columns])


def _rows(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _columns(parts: Sequence[Array]) -> list[tuple[Array, slice]]:
    """Each part and the channels of the whole that it is."""
    ends = itertools.accumulate(part.shape[-1] for part in parts)
    return [(p, slice(end - p.shape[-1], end)) for p, end in zip(parts, ends, strict=True)]


def _copy_rows(to: Array, source: Array) -> None:
    chunk = max(1, CHUNK // source.shape[1])
    run_chunks(lambda rows: np.copyto(to[rows], source[rows]), len(to), chunk)
