"""Batch slicing: the first layers run on one part of the batch after the other.

Only layers that treat each sample on its own are sliced. Their tensors exist for one slice at a
time where nothing keeps them; a weight gradient is the sum over the slices, last slice first. That
order is fixed, so that a step has the same bits in every memory mode at one number of slices, but
not at another number.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Protocol

from minidl.ir import ArgumentError, Lowering, Tensor, part_of
from minidl.ir.site import Call
from minidl.ops.merge import cut_slices, join_slices


class Applicable(Protocol):
    """What slicing needs of a network."""

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor: ...


def apply_sliced(network: Applicable, lowering: Lowering, inputs: list[Tensor]) -> Tensor:
    """Lower `network`, its first layers once for each of `lowering.slices` parts of the batch."""
    calls: list[Call] = []
    lowering.calls = calls
    output = network.apply(lowering, "", *inputs)
    lowering.calls = None
    sliced = sliced_calls(calls, lowering.slices)
    values = {t: t for t in inputs} | {sliced[-1].output: _slice_by_slice(lowering, sliced, inputs)}
    for call in calls[len(sliced) :]:
        values[call.output] = call.layer.apply(
            lowering, call.name, *(values[t] for t in call.inputs)
        )
    return values[output]


def sliced_calls(calls: list[Call], slices: int) -> list[Call]:
    """The first layers, up to where one tensor carries all that follows.

    They end once what every later layer reads and writes is at most one slice of the most that any
    layer does, or with the last layer before one that couples samples.
    """
    coupled = next((i for i, c in enumerate(calls) if c.layer.couples_samples), len(calls))
    ends = [end for end in range(1, coupled + 1) if _one_tensor_goes_on(calls, end)]
    if not ends:
        raise _unsliceable(calls, coupled, slices)
    sizes = [_sample_size(call) for call in calls]
    small = (end for end in ends if max(sizes[end:], default=0) * slices <= max(sizes))
    return calls[: next(small, ends[-1])]


def _unsliceable(calls: list[Call], coupled: int, slices: int) -> ArgumentError:
    """Why no layer can run on a part of the batch."""
    first = calls[coupled]
    why = f"{first.name}, {first.layer!r}, needs the whole batch"
    if coupled:
        before = "the layers in front of it end in no one tensor that carries all that follows"
        why = f"{why}, and {before}"
    else:
        why = f"the first layer, {why}"
    return ArgumentError(f"slices={slices}: {why}", "leave slices out, or put other layers first")


def _one_tensor_goes_on(calls: list[Call], end: int) -> bool:
    own = {call.output for call in calls[end:]} | {calls[end - 1].output}
    return all(t in own for call in calls[end:] for t in call.inputs)


def _sample_size(call: Call) -> int:
    """Elements that the layer reads and writes for one sample."""
    return sum(math.prod(t.shape[1:]) for t in (*call.inputs, call.output))


def _slice_by_slice(lowering: Lowering, calls: list[Call], inputs: list[Tensor]) -> Tensor:
    """All of `calls` on one slice after the other; the joined output."""
    bounds = [k * lowering.batch // lowering.slices for k in range(lowering.slices + 1)]
    outputs = []
    for low, high in pairwise(bounds):
        lowering.part = f"[{low}:{high}]"
        lowering.places.clear()  # every part has the same names
        values = {t: part_of(t, 0, low, high, f"{t.name}{lowering.part}") for t in inputs}
        for call in calls:
            operands = (values[t] for t in call.inputs)
            values[call.output] = call.layer.apply(lowering, call.name, *operands)
        outputs.append(values[calls[-1].output])
    lowering.part = ""
    return _joined(lowering, calls[-1], outputs)


def _joined(lowering: Lowering, last: Call, slices: list[Tensor]) -> Tensor:
    """y = the slices one after the other; its gradient op cuts dy likewise."""
    site = lowering.site(f"{last.name}.joined", None)
    site.output = y = site.activation((lowering.batch, *slices[0].shape[1:]))
    site.forward(join_slices, writes=[y], reads=slices, joins=0)
    gradients = [site.gradient(x) for x in slices]
    site.dgrad(cut_slices, writes=gradients, reads=[site.gradient(y)], joins=0)
    lowering.features[y] = lowering.features_of(slices[0])
    return y
