"""Weight gradients that wait for the norm of all, made after backward where that is less."""

from __future__ import annotations

import pytest

import minidl as dl
from minidl.compiler.lower import lower_training
from minidl.compiler.rewrites import defer_gradients, hoist_updates
from minidl.devices.known import target_of
from minidl.ir import StepGraph, dependencies
from minidl.options import Options

IMAGE = (64, 64, 3)


def graph_of(clip_norm: float | None) -> StepGraph:
    options = Options(device="cuda", clip_norm=clip_norm)
    how = dl.CrossEntropy(), dl.SGD(0.1, 0.9), 4, options, target_of(options)
    graph = lower_training(dl.models.vgg11(image=IMAGE), *how)
    return hoist_updates(graph)


def names(graph: StepGraph, phase: str) -> list[str]:
    return [op.name for op in graph.ops if op.phase == phase]


def test_large_matrices_come_last() -> None:
    graph = graph_of(1.0)
    deferred = defer_gradients(graph)
    place = {op: i for i, op in enumerate(deferred.ops)}
    for op, before in zip(graph.ops, dependencies(graph.ops), strict=True):
        assert all(place[graph.ops[j]] < place[op] for j in before)
    last = max(i for i, op in enumerate(deferred.ops) if op.phase == "dgrad")
    late = {op.kernel for op in deferred.ops[last:] if op.phase == "wgrad"}
    assert "linear_wgrad" in late
    assert names(deferred, "forward") == names(graph, "forward")


def test_nothing_else_moves() -> None:
    graph = graph_of(None)
    assert defer_gradients(graph).ops == graph.ops


def test_what_backward_goes_on_with_does_not_wait() -> None:
    """BatchNorm's dgrad reads what its wgrad writes: behind the backward pass, all that follows
    would be there too."""
    options = Options(device="cuda", clip_norm=1.0)
    how = dl.CrossEntropy(), dl.SGD(0.1, 0.9), 2, options, target_of(options)
    graph = hoist_updates(lower_training(dl.models.resnet18(image=IMAGE), *how))
    deferred = defer_gradients(graph)
    moved = [op.kernel for op in deferred.ops[_same(graph, deferred) :] if op.phase == "wgrad"]
    assert "conv2d_wgrad" in moved
    assert "batchnorm2d_wgrad" not in moved


def _same(graph: StepGraph, deferred: StepGraph) -> int:
    """Where what is last in `deferred` begins: the ops that stood before others of backward."""
    backward = [op for op in graph.ops if op.phase in ("dgrad", "wgrad")]
    return deferred.ops.index(backward[-1]) + 1


LIMITS_MIB = {"alexnet": (128, 705), "vgg16": (64, 3410)}
"""What clipping may need; without it 664 and 3,316."""


@pytest.mark.parametrize("model", LIMITS_MIB)
def test_what_clipping_needs(model: str) -> None:
    batch, limit = LIMITS_MIB[model]
    net, how = dl.models.MODELS[model](), {"optimizer": dl.SGD(0.01, 0.9), "device": "cuda"}
    plan, early = (
        dl.plan(net, batch, clip_norm=1.0, disable_passes=without, **how)
        for without in ((), ("defer_gradients",))
    )
    assert plan.arena_bytes <= limit * 2**20
    assert plan.arena_bytes <= early.arena_bytes
