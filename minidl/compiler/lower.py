"""From a network to its step graph: forward, gradients, updates."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from minidl.compiler.differentiate import Gradients, differentiate, without_dead_ops
from minidl.compiler.slices import apply_sliced
from minidl.compiler.updates import between_gradients_and_updates
from minidl.ir import (
    LayerNote,
    Lowering,
    Op,
    Shape,
    Site,
    StepGraph,
    Target,
    Tensor,
    Trained,
    Variable,
)
from minidl.ops.counters import count_step
from minidl.options import Options


class NetworkLike(Protocol):
    """What lowering needs of a network."""

    @property
    def input_specs(self) -> list[tuple[Shape, str | None]]: ...

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor: ...


class LossLike(Protocol):
    """What lowering needs of a loss."""

    def target(self, prediction: Shape) -> tuple[Shape, str | None]: ...

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor: ...


class OptimizerLike(Protocol):
    """What lowering needs of an optimizer."""

    def lower(self, site: Site, w: Tensor, dw: Tensor, name: str) -> None: ...


def _lowering(batch: int, options: Options, target: Target, seed: int, training: bool) -> Lowering:
    slices = min(options.slices, batch)  # none may be empty
    return Lowering(batch, options.dtype, training, target, seed, slices)


def lower_training(
    network: NetworkLike,
    loss: LossLike,
    optimizer: OptimizerLike,
    batch: int,
    options: Options,
    target: Target,
    seed: int = 0,
) -> StepGraph:
    """Every op of one training step in layer order: forward, backward, then all updates.

    target: how the device that it is for runs an op.
    Where the options accumulate gradients over several calls, this is the last of them: see
    `lower_accumulation`.
    """
    return _lower(network, loss, optimizer, batch, options, target, seed)


def lower_accumulation(
    network: NetworkLike,
    loss: LossLike,
    batch: int,
    options: Options,
    target: Target,
    training: StepGraph,
    seed: int = 0,
) -> StepGraph:
    """A call that adds its gradients to the sums and updates nothing.

    Every variable of `training` is one here too, so that optimizer state outlives the call.
    """
    adding = _lower(network, loss, None, batch, options, target, seed)
    return _with_variables_of(training, adding)


def _lower(
    network: NetworkLike,
    loss: LossLike,
    optimizer: OptimizerLike | None,
    batch: int,
    options: Options,
    target: Target,
    seed: int,
) -> StepGraph:
    lowering = _lowering(batch, options, target, seed, training=True)
    lowering.accumulate = options.accumulate
    prediction = _forward(network, lowering)
    shape, dtype = loss.target(prediction.shape)
    labels = lowering.input("target", shape, dtype or options.dtype)
    value = loss.apply(lowering, "loss", prediction, labels)
    sites = list(lowering.sites)
    backward, gradients = differentiate(lowering, value)
    updates = _updates(lowering, gradients, optimizer, options)
    counts = _count_ops(lowering, updates=optimizer is not None)
    return without_dead_ops(
        StepGraph(
            ops=(*_ops(sites), *backward, *updates, *counts),
            inputs=tuple(lowering.inputs),
            outputs=(value,),
            waiting=_twins(lowering.inputs) if options.prefetch else (),
            variables=_network_first(lowering),
            gradient_of=gradients.forward_of,
            layers=_notes(lowering),
        )
    )


def _twins(inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(Tensor(f"next:{t.name}", t.shape, t.dtype, "state") for t in inputs)


def lower_inference(
    network: NetworkLike,
    batch: int,
    options: Options,
    target: Target,
    training: StepGraph,
    seed: int = 0,
) -> StepGraph:
    """Forward only: dropout is gone, BatchNorm reads its running statistics.

    Every variable of `training` is one here too, so that optimizer state outlives a prediction.
    """
    lowering = _lowering(batch, options, target, seed, training=False)
    prediction = _forward(network, lowering)
    ops, own = _ops(lowering.sites), tuple(lowering.variables.values())
    inputs, layers = tuple(lowering.inputs), _notes(lowering)
    graph = StepGraph(tuple(ops), inputs, (prediction,), own, layers=layers)
    return _with_variables_of(training, graph)


def _with_variables_of(training: StepGraph, graph: StepGraph) -> StepGraph:
    own = {v.name: v for v in graph.variables}
    return replace(graph, variables=tuple(own.get(v.name, v) for v in training.variables))


def _notes(lowering: Lowering) -> tuple[LayerNote, ...]:
    """What reports know of each layer: its name, class, output and parameters."""
    parameters: dict[object, list[Tensor]] = {}
    for (owner, _), variable in lowering.variables.items():
        if variable.tensor.kind == "parameter":
            parameters.setdefault(owner, []).append(variable.tensor)
    return tuple(
        LayerNote(site.name, _kind(site), site.output, tuple(parameters.get(site.owner, ())))
        for site in lowering.sites
        if site.output is not None
    )


def _kind(site: Site) -> str:
    return "" if site.owner is None else type(site.owner).__name__


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


def _updates(
    lowering: Lowering,
    gradients: Gradients,
    optimizer: OptimizerLike | None,
    options: Options,
) -> list[Op]:
    """From the gradients of all parameters, in the order of the network, to their updates."""
    ops, trained = _totals(lowering, gradients)
    more, trained = between_gradients_and_updates(
        lowering, trained, options, last=optimizer is not None
    )
    ops += more
    gradients.forward_of.update((p.gradient, p.w) for p in trained)
    if optimizer is None:
        return ops
    for p in trained:
        site = lowering.site(p.layer, ("optimizer", p.w))
        optimizer.lower(site, p.w, p.gradient, p.name)
        ops += site.forward_ops
    return ops


def _totals(lowering: Lowering, gradients: Gradients) -> tuple[list[Op], list[Trained]]:
    """The trained parameters in the order of the network, and the sums that their gradients are."""
    ops, trained = [], []
    for variable in list(lowering.variables.values()):
        if variable.tensor in gradients.contributions:
            layer, _, name = variable.name.rpartition(".")
            ops += gradients.total(variable.tensor, layer)
            gradient = gradients.contributions[variable.tensor][0]
            trained.append(Trained(variable.tensor, layer, name, gradient))
    return ops, trained


def _count_ops(lowering: Lowering, updates: bool) -> list[Op]:
    """The call is counted, and its update where others make none."""
    site = lowering.site("", None)
    counters = dict.fromkeys((site.step_counter(), *([site.update_counter()] if updates else [])))
    return [Op(count_step, "", "other", (t,), (t,), flops=1) for t in counters]
