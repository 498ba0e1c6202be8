"""StepGraph: every op of one training step; nothing placed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.ir.op import Op
from minidl.ir.printed import never_raises
from minidl.ir.tensor import Shape, Tensor

Array = NDArray[Any]


def _same(array: Array) -> Array:
    return array


@dataclass(frozen=True, slots=True)
class Variable:
    """A persistent tensor: its public name, its first value, and how PyTorch stores it."""

    name: str
    tensor: Tensor
    initial: Callable[[np.random.Generator, Shape], Array]
    to_torch: Callable[[Array], Array] = _same
    from_torch: Callable[[Array], Array] = _same
    saved: bool = True
    """Whether it belongs in the network's state dict (weights, running statistics)."""

    @property
    def ordered(self) -> bool:
        """Whether PyTorch's layout is another."""
        return self.to_torch is not _same


@dataclass(frozen=True, slots=True)
class LayerNote:
    """A layer at one place of the network, as people know it; passes do not read it."""

    name: str
    kind: str
    """The layer's class; empty for what no layer asked for."""
    output: Tensor
    """As it was lowered: a rewrite may have put another in its place."""
    parameters: tuple[Tensor, ...] = ()
    """Of the layer, which may have other places too."""


@dataclass(frozen=True, repr=False)
class StepGraph:
    """The ops of one step in layer order, which is one valid order among many.

    What may move past what follows from the tensors: see `dependencies`.
    """

    ops: tuple[Op, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    """Tensors that must hold at the end of the step: the loss, or the logits."""
    variables: tuple[Variable, ...] = ()
    waiting: tuple[Tensor, ...] = ()
    """Where the next step's inputs arrive while this step runs, in the order of `inputs`; no op
    touches them. None unless the step is compiled with `prefetch`."""
    gradient_of: dict[Tensor, Tensor] = field(default_factory=dict)
    """Each gradient tensor's forward tensor."""
    layers: tuple[LayerNote, ...] = ()
    """In the order of the network, once for each slice of the batch."""

    @property
    def flops(self) -> int:
        return sum(op.flops for op in self.ops)

    @never_raises
    def __repr__(self) -> str:
        reads = ", ".join(t.name for t in self.inputs)
        counts = f"{len(self.ops):,} ops, {len(self.variables):,} variables"
        return f"<StepGraph of {counts}, reads {reads}>"


def dependencies(ops: tuple[Op, ...]) -> list[set[int]]:
    """For each op the indices of the earlier ops it must follow.

    A read follows the last write; a write follows the last write and every read of that value.
    """
    last_write: dict[Tensor, int] = {}
    reads_since: dict[Tensor, list[int]] = {}
    before: list[set[int]] = [set() for _ in ops]
    for i, op in enumerate(ops):
        for t in op.reads:
            if t.storage in last_write:
                before[i].add(last_write[t.storage])
            reads_since.setdefault(t.storage, []).append(i)
        for t in op.writes:
            before[i].update(reads_since.get(t.storage, ()))
            if t.storage in last_write:
                before[i].add(last_write[t.storage])
            last_write[t.storage] = i
            reads_since[t.storage] = []
        before[i].discard(i)
    return before


def followers(before: Sequence[Collection[int]]) -> list[list[int]]:
    """For each op those that must follow it at once, where `before` says what each must follow."""
    after: list[list[int]] = [[] for _ in before]
    for i, js in enumerate(before):
        for j in js:
            after[j].append(i)
    return after
