"""Layers of several inputs: sums and concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minidl.ir import Lowering, Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.layers.base import Layer
from minidl.ops.cuda.operands import SUMMED
from minidl.ops.merge import add_forward, concat_dgrad, concat_forward


class Merge(Layer):
    """A layer of two or more inputs, each of which has a gradient of its own."""

    def emit(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor:
        """A tensor that is given twice comes in again as a view, whose gradient is added."""
        distinct: list[Tensor] = []
        for x in inputs:
            if x in distinct:
                x = lowering.site(f"{name}.twice", None).view(x, x.shape)
            distinct.append(x)
        return super().emit(lowering, name, *distinct)


@called("write Add()(x, y)")
@dataclass(frozen=True, eq=False)
class Add(Merge):
    """y = x0 + x1 + ..., from left to right, of two or more inputs of one shape.

    Of many inputs it is the sum of some, then of that and more.

    The gradient of every input is dy itself: a view of it, without an op.
    """

    order = "same"

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
        strided=True,
        cheap=True,
    )


@called("write Concat()(x, y): along the channels", axis="", dim="")
@dataclass(frozen=True, eq=False)
class Concat(Merge):
    """y = [x0, x1, ...] along the channels, the last axis; all other axes must agree.

    dx_i is the part of dy that x_i became.
    """

    order = "joined"

    def output_shape(self, *inputs: Shape) -> Shape:
        _require_several(inputs)
        if len({shape[:-1] for shape in inputs}) > 1:
            raise ShapeError("all inputs must have the same shape but for the channels")
        return *inputs[0][:-1], sum(shape[-1] for shape in inputs)

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        shape = self.output_shape(*(x.shape for x in inputs))
        y = site.activation(shape)
        site.forward(concat_forward, writes=[y], reads=inputs, joins=-1, cheap=True, strided=True)
        gradients = [site.gradient(x) for x in inputs]
        site.dgrad(concat_dgrad, writes=gradients, reads=[site.gradient(y)], joins=-1, strided=True)
        return y


def _require_several(inputs: Sequence[Shape]) -> None:
    if len(inputs) < 2:
        raise ShapeError(f"needs two or more inputs, got {len(inputs)}")
