"""The ops of a training step on a card, for whoever compiles its kernels."""

from __future__ import annotations

import minidl as dl
from benchmarks.gpu.compiling import Source
from benchmarks.gpu.network import Case, optimizer
from minidl.compiler.lower import lower_inference
from minidl.compiler.planner import make_plan
from minidl.devices.known import target_of
from minidl.ir import Op
from minidl.ir.card import Card
from minidl.placed.graph import PlacedGraph


def of_step(case: Case, precision: str, card: Card, memory: str = "arena") -> Source:
    def ops() -> list[Op]:
        how = optimizer(case.lr)
        return step_ops(case.build(), case.batch, precision, memory, how, card)

    return Source(f"steps {case.name} {precision} {memory}", ops)


def step_ops(
    network: dl.Network, batch: int, precision: str, memory: str, how: dl.Optimizer, card: Card
) -> list[Op]:
    """Of a step and of its `predict`."""
    plan = dl.plan(
        network,
        batch,
        gpu=card,
        precision=precision,
        memory=memory,
        optimizer=how,
    )
    return [*plan.graph.ops, *_inference(network, plan).graph.ops]


def _inference(network: dl.Network, training: PlacedGraph) -> PlacedGraph:
    how = training.options, target_of(training.options)
    graph = lower_inference(network, training.batch, *how, training.graph)
    return make_plan(graph, training.subject, training.options)
