"""From a network to its step graph: forward, gradients, updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from minidl.compiler.differentiate import differentiate, without_dead_ops
from minidl.compiler.slices import apply_sliced
from minidl.compiler.updates import OptimizerLike, count_micro_batch, update_ops
from minidl.ir import ArgumentError, Array, Lowering, Op, Shape, Site, StepGraph, Tensor, Variable
from minidl.ir.site import SCRATCH_LIMIT


class NetworkLike(Protocol):
    """What lowering needs of a network."""

    @property
    def input_specs(self) -> list[tuple[Shape, str | None]]: ...

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor: ...


class LossLike(Protocol):
    """What lowering needs of a loss."""

    def target(self, prediction: Shape) -> tuple[Shape, str | None]: ...

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Target:
    """What a graph is lowered for."""

    batch: int
    dtype: str = "float32"
    device: str = "cpu"
    scratch_limit: int = SCRATCH_LIMIT
    seed: int = 0
    slices: int = 1
    precision: str = "float32"
    tuning: Mapping[str, tuple[str, int]] | None = field(default=None, hash=False)
    clip_norm: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ArgumentError(f"batch must be at least 1, got {self.batch}")
        if not 1 <= self.slices <= self.batch:
            raise ArgumentError(
                f"slices must be in [1, {self.batch}], the batch: got {self.slices}"
            )
        if self.scratch_limit < 1:
            raise ArgumentError(f"scratch_limit must be positive, got {self.scratch_limit}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ArgumentError(f"clip_norm must be positive, or None: got {self.clip_norm}")
        if not isinstance(self.accumulate, int) or self.accumulate < 1:
            raise ArgumentError(
                f"accumulate is a number of calls, at least 1: got {self.accumulate}"
            )

    def at(self, batch: int) -> Target:
        """The same for another batch, which a slice may not be empty of."""
        return replace(self, batch=batch, slices=min(self.slices, batch))

    def lowering(self, training: bool) -> Lowering:
        return Lowering(
            self.batch,
            self.dtype,
            training,
            self.device,
            self.scratch_limit,
            self.seed,
            self.slices,
            self.clip_norm,
            self.accumulate,
            precision=self.precision,
            tuning=self.tuning,
        )


def lower_training(
    network: NetworkLike, loss: LossLike, optimizer: OptimizerLike, target: Target
) -> StepGraph:
    """Every op of one training step in layer order: forward, backward, then all updates.

    Where several calls accumulate, this is the last of them: see `lower_holding`.
    """
    return _lower(network, loss, optimizer, target)


def lower_holding(
    network: NetworkLike, loss: LossLike, target: Target, training: StepGraph
) -> StepGraph:
    """A call that adds its gradients to the sums and updates nothing.

    Every variable of `training` is one here too, so that optimizer state outlives the call.
    """
    return _with_variables_of(training, _lower(network, loss, None, target))


def _lower(
    network: NetworkLike, loss: LossLike, optimizer: OptimizerLike | None, target: Target
) -> StepGraph:
    lowering = target.lowering(training=True)
    prediction = _forward(network, lowering)
    shape, dtype = loss.target(prediction.shape)
    labels = lowering.input("target", shape, dtype or target.dtype)
    value = loss.apply(lowering, "loss", prediction, labels)
    sites = list(lowering.sites)
    backward, gradients = differentiate(lowering, value)
    updates = update_ops(lowering, gradients, optimizer)
    counts = _count_ops(lowering, optimizer is not None)
    return without_dead_ops(
        StepGraph(
            ops=(*_ops(sites), *backward, *updates, *counts),
            inputs=tuple(lowering.inputs),
            outputs=(value,),
            variables=_network_first(lowering),
            gradient_of=gradients.forward_of,
        )
    )


def lower_inference(network: NetworkLike, target: Target, training: StepGraph) -> StepGraph:
    """Forward only: dropout is gone, BatchNorm reads its running statistics.

    Every variable of `training` is one here too, so that optimizer state outlives a prediction.
    """
    lowering = target.lowering(training=False)
    prediction = _forward(network, lowering)
    ops, own = _ops(lowering.sites), tuple(lowering.variables.values())
    graph = StepGraph(tuple(ops), tuple(lowering.inputs), (prediction,), own)
    return _with_variables_of(training, graph)


def _with_variables_of(training: StepGraph, graph: StepGraph) -> StepGraph:
    own = {v.name: v for v in graph.variables}
    return replace(graph, variables=tuple(own.get(v.name, v) for v in training.variables))


def _network_first(lowering: Lowering) -> tuple[Variable, ...]:
    """The layers' own variables before all others, so that training and inference agree."""
    return tuple(sorted(lowering.variables.values(), key=lambda v: not v.saved))


def _forward(network: NetworkLike, lowering: Lowering) -> Tensor:
    inputs = [
        lowering.input(f"input{i or ''}", (lowering.batch, *shape), dtype or lowering.dtype)
        for i, (shape, dtype) in enumerate(network.input_specs)
    ]
    if lowering.slices > 1:
        return apply_sliced(network, lowering, inputs)
    return network.apply(lowering, "", *inputs)


def _ops(sites: list[Site]) -> list[Op]:
    return [op for site in sites for op in site.forward_ops]


def count_step(step: Array) -> None:
    """step = step + 1."""
    step += 1


def _count_ops(lowering: Lowering, updates: bool) -> list[Op]:
    """The end of a call: it is counted, and so is its update where others make none."""
    site = lowering.site("", None)
    counters = dict.fromkeys((site.step_counter(), *([site.update_counter()] if updates else [])))
    ops = [Op(count_step, "", "other", (t,), (t,), flops=1) for t in counters]
    if lowering.accumulate > 1:
        call, how = site.call_counter(), {"calls": lowering.accumulate}
        ops.append(Op(count_micro_batch, "", "other", (call,), (call,), attributes=how, flops=1))
    return ops
