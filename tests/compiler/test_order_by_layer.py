"""Orders: each is a valid one, order_by_layer is the best that the layers' own groups allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.compiler.lifetimes import lifetimes
from minidl.compiler.lower import lower_training
from minidl.compiler.modes import MODES
from minidl.compiler.order import order_by_layer, order_by_size
from minidl.compiler.order.by_layer import GroupSearch
from minidl.devices.known import target_of
from minidl.ir import Op, StepGraph, Tensor, dependencies
from minidl.options import Options
from tests.compiler.random_networks import described, networks, optimizers

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def graph_of(network: dl.Network, batch: int, optimizer: dl.Optimizer | None = None) -> StepGraph:
    """The step as `arena` orders it: after all rewrites."""
    optimizer, options = optimizer or dl.SGD(0.1, 0.9), Options(device="cuda")
    how = batch, options, target_of(options)
    graph = lower_training(network, dl.CrossEntropy(), optimizer, *how)
    for rewrite in MODES["arena"].passes:
        if rewrite is not order_by_layer:
            graph = rewrite(graph)
    return graph


def loads(graph: StepGraph) -> list[int]:
    """Bytes live while each op runs: every tensor between its first and its last use, less what
    an op writes over a tensor that it reads last."""
    alive = lifetimes(graph)
    found = []
    for i, op in enumerate(graph.ops):
        live = sum(t.nbytes for t, life in alive.items() if life.first <= i < life.last)
        taken: set[Tensor] = set()
        for k, j in op.in_place:
            new, old = op.writes[k].storage, op.reads[j].storage
            dies = alive[old].last == i + 1 and not old.given and alive[new].first == i
            if dies and new.nbytes <= old.nbytes and not taken & {new, old}:
                taken |= {new, old}
                live -= new.nbytes
        found.append(live)
    return found


def is_valid(before: StepGraph, after: StepGraph) -> bool:
    """The same ops, each behind all that it must follow."""
    place = {op: i for i, op in enumerate(after.ops)}
    return set(place) == set(before.ops) and all(
        place[before.ops[j]] < place[op]
        for op, needs in zip(before.ops, dependencies(before.ops), strict=True)
        for j in needs
    )


@pytest.mark.parametrize("order", [order_by_size, order_by_layer])
@QUICK
@given(drawn=networks(), optimizer=optimizers())
def test_an_order_is_valid_and_repeatable(
    order: Callable[[StepGraph], StepGraph], drawn: tuple[dl.Network, int], optimizer: dl.Optimizer
) -> None:
    note(described(drawn[0]))
    graph = graph_of(*drawn, optimizer)
    ordered = order(graph)
    assert is_valid(graph, ordered)
    assert order(graph).ops == ordered.ops
    assert replace(ordered, ops=graph.ops) == graph


@QUICK
@given(networks(), optimizers())
def test_the_best_order_is_never_worse(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer
) -> None:
    note(described(drawn[0]))
    graph = graph_of(*drawn, optimizer)
    assert max(loads(order_by_layer(graph))) <= max(loads(graph))


@pytest.mark.parametrize("model", ["alexnet", "vgg16", "resnet18"])
def test_the_best_order_of_real_models(model: str) -> None:
    graph = graph_of(dl.models.MODELS[model](), 16)
    best = order_by_layer(graph)
    assert is_valid(graph, best)
    assert max(loads(best)) <= max(loads(graph))
    assert max(loads(best)) <= max(loads(order_by_size(graph)))


# -- against every order of a small group ----------------------------------------------------------


def groups(graph: StepGraph) -> Iterator[tuple[int, int]]:
    """First and last position of each layer's backward ops and updates."""
    start = 0
    for i in range(1, len(graph.ops) + 1):
        here, there = graph.ops[i - 1], graph.ops[i] if i < len(graph.ops) else None
        if there is None or there.layer != here.layer or there.phase == "forward":
            if here.phase != "forward":
                yield start, i
            start = i


def orders(ops: list[Op], graph: StepGraph) -> Iterator[tuple[Op, ...]]:
    """Every order of a group that respects what each op must follow."""
    needs = dependencies(graph.ops)
    place = {op: i for i, op in enumerate(graph.ops)}
    for order in permutations(ops):
        rank = {place[op]: k for k, op in enumerate(order)}
        if all(rank[j] < rank[i] for i in rank for j in needs[i] if j in rank):
            yield order


def peaks(graph: StepGraph, start: int, stop: int) -> Iterator[int]:
    """The most bytes live within a group, for every order of it."""
    for order in orders(list(graph.ops[start:stop]), graph):
        ops = (*graph.ops[:start], *order, *graph.ops[stop:])
        yield max(loads(replace(graph, ops=ops))[start:stop])


@QUICK
@given(networks(most=5), optimizers())
def test_the_best_order_of_a_network_layer_by_layer(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer
) -> None:
    note(described(drawn[0]))
    graph = graph_of(*drawn, optimizer)
    best = order_by_layer(graph)
    for start, stop in groups(graph):
        if 1 < stop - start <= 5:
            assert max(loads(best)[start:stop]) == min(peaks(graph, start, stop))


def work(*_: object) -> None:
    """An op that only has operands."""


@st.composite
def one_group(draw: Callable[..., object]) -> StepGraph:
    """A layer's backward pass of random ops on random tensors, some given, some read later."""
    sizes = st.integers(1, 40)
    count = draw(st.integers(2, 5))
    assert isinstance(count, int)
    given = [Tensor(f"x{i}", (n,), "uint8", "activation")
             for i, n in enumerate(draw(st.lists(sizes, min_size=1, max_size=3)))]  # type: ignore[arg-type, var-annotated]  # fmt: skip
    made: list[Tensor] = []
    ops = [Op(work, "before", "forward", tuple(given), ())]
    for i in range(count):
        y = Tensor(f"y{i}", (draw(sizes),), "uint8", "gradient")  # type: ignore[arg-type]
        readable = st.lists(st.sampled_from([*given, *made]), min_size=1, max_size=3, unique=True)
        reads = tuple(draw(readable))  # type: ignore[arg-type, var-annotated]
        over = ((0, 0),) if draw(st.booleans()) else ()
        ops.append(Op(work, "layer", "dgrad", (y,), reads, in_place=over))
        made.append(y)
    loss = Tensor("loss", (1,), "uint8", "activation")
    later = draw(st.lists(st.sampled_from([*given, *made]), max_size=2, unique=True))
    ops.append(Op(work, "after", "forward", (loss,), tuple(later)))  # type: ignore[arg-type]
    return StepGraph(tuple(ops), (), (loss,))


@settings(QUICK, max_examples=150)
@given(one_group())
def test_the_best_order_of_a_random_group(graph: StepGraph) -> None:
    best = order_by_layer(graph)
    stop = len(graph.ops) - 1
    assert is_valid(graph, best)
    assert max(loads(best)[1:stop]) == min(peaks(graph, 1, stop))


def test_a_group_beyond_the_search_keeps_its_order() -> None:
    x = Tensor("x", (4,), "uint8", "input")
    ys = [Tensor(f"y{i}", (i + 1,), "uint8", "gradient") for i in range(12)]
    ops = tuple(Op(work, "layer", "dgrad", (y,), (x,)) for y in ys)
    graph = StepGraph(ops, (x,), (ys[0],))
    assert GroupSearch(graph).best_order(list(ops)) == list(ops)
    assert order_by_layer(graph).ops == ops


# -- the paper's order -----------------------------------------------------------------------------


def phases(graph: StepGraph, layer: str) -> list[str]:
    """dgrad and wgrad of a layer's large tensors in their order."""
    large = ("conv2d_dgrad", "conv2d_wgrad", "linear_dgrad", "linear_wgrad")
    return [op.phase for op in graph.ops if op.layer == layer and op.kernel in large]


def test_the_larger_buffer_decides_the_papers_order() -> None:
    """wgrad first where data is larger, so that dX may overwrite X; else dgrad first."""
    network = dl.models.alexnet(classes=10, image=(64, 64, 3))
    options = Options(device="cuda")
    how = 256, options, target_of(options)
    graph = lower_training(network, dl.CrossEntropy(), dl.SGD(0.1), *how)
    ordered = order_by_size(graph)
    assert phases(ordered, "features.3") == ["wgrad", "dgrad"]
    assert phases(ordered, "classifier.1") == ["dgrad", "wgrad"]
    assert is_valid(graph, ordered)
