"""Each rewrite alone: what it changes, what it must leave; and the gradients it starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings

import minidl as dl
from minidl.compiler.buffers import after_last_use, in_place
from minidl.compiler.lower import lower_training
from minidl.compiler.modes import MODES, Mode
from minidl.compiler.rewrites import commute_selections, fuse_updates, hoist_updates, keep_signs
from minidl.devices.known import target_of
from minidl.ir import Op, StepGraph, Tensor, dependencies
from minidl.layers.base import Layer, Node
from minidl.options import Options
from tests.compiler.random_networks import described, networks
from tests.training import random_batches, train, variables

pytestmark = pytest.mark.usefixtures("quick_placement")

MOMENTUM = dl.SGD(0.05, momentum=0.9)
CLASSES = 3


def chain(*layers: Layer, image: tuple[int, int, int] = (8, 8, 2)) -> dl.Network:
    """The layers on an image, a Linear behind them."""
    x = y = dl.Input(image)
    for layer in layers:
        y = layer(y)
    return ended(x, y)


def ended(x: Node, y: Node) -> dl.Network:
    return dl.Network(x, dl.Linear(CLASSES)(dl.Flatten()(y)))


def graph_of(network: dl.Network, optimizer: dl.Optimizer = MOMENTUM) -> StepGraph:
    how = 2, Options(), target_of(Options())
    return lower_training(network, dl.CrossEntropy(), optimizer, *how)


def kernels(graph: StepGraph) -> list[str]:
    return [op.kernel for op in graph.ops]


def op_of(graph: StepGraph, kernel: str) -> Op:
    (found,) = [op for op in graph.ops if op.kernel == kernel]
    return found


def op_of_first(graph: StepGraph, kernel: str) -> Op:
    return next(op for op in graph.ops if op.kernel == kernel)


def keeps_bits(network: dl.Network, rewrite: Callable[[StepGraph], StepGraph], **how: Any) -> None:
    """The rewrite alone, with and without overwriting, trains to the bits of `naive`."""
    data = random_batches(np.random.default_rng(0), 2, network.image, CLASSES)
    expected = train(network, data, "naive", **how)
    for share in (after_last_use, in_place):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(MODES, "alone", Mode("alone", (rewrite,), share))
            assert train(network, data, "alone", debug=True, **how) == expected


# -- a ReLU behind what selects --------------------------------------------------------------------


def conv(features: int = 4) -> dl.Conv2d:
    return dl.Conv2d(features, 3, padding=1)


def test_a_relu_moves_behind_a_max_pool() -> None:
    graph = graph_of(chain(conv(), dl.ReLU(), dl.MaxPool2d(2)))
    moved = commute_selections(graph)
    assert kernels(moved)[:3] == ["conv2d_forward", "maxpool2d_forward", "relu_forward"]
    backward = [k for k in kernels(moved) if k.startswith(("relu_d", "maxpool2d_d"))]
    assert backward == ["relu_dgrad", "maxpool2d_dgrad"]
    full, pooled = 2 * 8 * 8 * 4, 2 * 4 * 4 * 4
    for name in ("relu_forward", "relu_dgrad"):
        assert (op_of(graph, name).writes[0].size, op_of(moved, name).writes[0].size) == (
            full,
            pooled,
        )
    y = op_of(moved, "conv2d_forward").writes[0]
    readers = [op.kernel for op in moved.ops if y in op.reads]
    assert readers == ["maxpool2d_forward"]  # dead after forward
    keeps_bits(chain(conv(), dl.ReLU(), dl.MaxPool2d(3, 2, 1)), commute_selections)


def test_a_relu_moves_behind_a_dropout() -> None:
    network = chain(conv(), dl.ReLU(), dl.Dropout(0.5), conv(2))
    moved = commute_selections(graph_of(network))
    assert kernels(moved)[:3] == ["conv2d_forward", "dropout_forward", "relu_forward"]
    backward = [k for k in kernels(moved) if k in ("relu_dgrad", "dropout_dgrad")]
    assert backward == ["relu_dgrad", "dropout_dgrad"]
    keeps_bits(network, commute_selections)


def test_a_relu_moves_behind_pool_and_dropout() -> None:
    network = chain(conv(), dl.ReLU(), dl.MaxPool2d(2), dl.Dropout(0.5), conv(2), dl.ReLU())
    moved = commute_selections(graph_of(network))
    expected = ["conv2d_forward", "maxpool2d_forward", "dropout_forward", "relu_forward"]
    assert kernels(moved)[:4] == expected
    selects = ("relu_dgrad", "dropout_dgrad", "maxpool2d_dgrad")
    backward = [k for k in kernels(moved) if k in selects]
    assert backward == ["relu_dgrad", "relu_dgrad", "dropout_dgrad", "maxpool2d_dgrad"]
    keeps_bits(network, commute_selections)


def flattened_to_dropout(*more: Layer) -> dl.Network:
    x = dl.Input((8, 8, 2))
    y = dl.Flatten()(dl.MaxPool2d(2)(dl.ReLU()(conv()(x))))
    for layer in (dl.Dropout(0.5), *more, dl.Linear(CLASSES)):
        y = layer(y)
    return dl.Network(x, y)


def test_a_relu_moves_past_a_flatten() -> None:
    network = flattened_to_dropout(dl.Linear(6), dl.ReLU())
    moved = commute_selections(graph_of(network))
    expected = ["conv2d_forward", "maxpool2d_forward", "dropout_forward", "relu_forward"]
    assert kernels(moved)[:4] == expected
    assert op_of_first(moved, "relu_forward").writes[0].shape == (2, 4 * 4 * 4)
    keeps_bits(network, commute_selections)


def test_a_relu_on_the_images_moves_without_a_gradient() -> None:
    network = chain(dl.ReLU(), dl.MaxPool2d(2), conv())
    assert kernels(commute_selections(graph_of(network)))[:2] == [
        "maxpool2d_forward",
        "relu_forward",
    ]
    keeps_bits(network, commute_selections)


def read_by_pool_and_conv() -> dl.Network:
    x = dl.Input((8, 8, 2))
    y = dl.ReLU()(conv()(x))
    return ended(x, dl.Add()(dl.MaxPool2d(2)(y), dl.Conv2d(4, 2, stride=2)(y)))


def read_by_two_pools() -> dl.Network:
    x = dl.Input((8, 8, 2))
    y = dl.ReLU()(conv()(x))
    return ended(x, dl.Concat()(dl.MaxPool2d(2)(y), dl.MaxPool2d(4, 2, 1)(y)))


def read_in_two_shapes() -> dl.Network:
    x = dl.Input((8, 8, 2))
    y = dl.ReLU()(conv()(x))
    pooled = dl.Flatten()(dl.MaxPool2d(2)(y))
    dropped = dl.Dropout(0.5)(dl.Flatten()(y))
    return dl.Network(x, dl.Add()(dl.Linear(CLASSES)(pooled), dl.Linear(CLASSES)(dropped)))


STAYS: dict[str, Callable[[], dl.Network]] = {
    "read by pool and conv": read_by_pool_and_conv,
    "read by two pools": read_by_two_pools,
    "read in two shapes": read_in_two_shapes,
    "average": lambda: chain(conv(), dl.ReLU(), dl.AvgPool2d(2)),
    "leaky": lambda: chain(conv(), dl.LeakyReLU(), dl.MaxPool2d(2)),
    "sigmoid": lambda: chain(conv(), dl.Sigmoid(), dl.MaxPool2d(2)),
    "pool first": lambda: chain(conv(), dl.MaxPool2d(2), dl.ReLU()),
    "conv between": lambda: chain(conv(), dl.ReLU(), conv(), dl.MaxPool2d(2)),
}


@pytest.mark.parametrize("name", STAYS)
def test_a_relu_stays(name: str) -> None:
    network = STAYS[name]()
    graph = graph_of(network)
    assert commute_selections(graph).ops == graph.ops
    keeps_bits(network, commute_selections)


def test_a_relu_that_is_an_output_stays() -> None:
    graph = graph_of(chain(conv(), dl.ReLU(), dl.MaxPool2d(2)))
    shown = replace(graph, outputs=(*graph.outputs, op_of(graph, "relu_forward").writes[0]))
    assert commute_selections(shown).ops == shown.ops


def test_two_relus_before_a_pool() -> None:
    keeps_bits(chain(conv(), dl.ReLU(), dl.ReLU(), dl.MaxPool2d(2)), commute_selections)


# -- updates in wgrad's epilogue -------------------------------------------------------------------


def weight_gradients(graph: StepGraph) -> set[str]:
    tensors = (t for op in graph.ops for t in (*op.reads, *op.writes))
    return {t.name for t in tensors if t.kind == "weight_gradient" and t.name.endswith("weight")}


@pytest.mark.parametrize("optimizer", [dl.SGD(), MOMENTUM, dl.Adam(), dl.AdamW()], ids=repr)
def test_updates_leave_no_weight_gradient(optimizer: dl.Optimizer) -> None:
    network = chain(conv(), dl.ReLU(), conv(), image=(2, 2, 2))  # weights larger than data
    graph = graph_of(network, optimizer)
    fused = fuse_updates(graph)
    assert len(weight_gradients(graph)) == 3
    assert not weight_gradients(fused)
    assert len(fused.ops) == len(graph.ops) - 3
    for op in fused.ops:
        main, epilogue = op.fusion.main, op.fusion.epilogue
        if main is not None and epilogue is not None:
            assert main in graph.ops
            assert epilogue in graph.ops
            assert op.fusion.between not in (*op.reads, *op.writes)
            assert set(op.reads) >= set(main.reads)
            assert op.flops == main.flops + epilogue.flops
    assert any(t.name.endswith("bias") for op in fused.ops for t in op.writes)
    keeps_bits(network, fuse_updates, optimizer=optimizer)


@pytest.mark.parametrize(
    ("image", "features", "fused"),
    [((16, 16, 8), 4, False), ((2, 2, 8), 64, True)],
    ids=["data-larger", "weights-larger"],
)
def test_an_update_of_weights_fuses_where_they_are_the_larger_buffer(
    image: tuple[int, int, int], features: int, fused: bool
) -> None:
    """Fused, plain SGD writes the weights from wgrad, so dgrad comes first and keeps its input."""
    first, second = conv(8), conv(features)
    graph = fuse_updates(graph_of(chain(first, second, image=image), dl.SGD(lr=0.1)))
    second_wgrad = [
        op for op in graph.ops if op.layer == "conv2d2" and op.kernel.startswith("conv2d_w")
    ]
    assert [op.fusion.epilogue is not None for op in second_wgrad] == [fused]
    network = chain(conv(8), conv(features), image=image)
    keeps_bits(network, fuse_updates, optimizer=dl.SGD(lr=0.1))


def test_a_shared_weights_sum_is_not_fused() -> None:
    """Its gradients are read by the sum, so no tile of one is a tile of the update."""
    twice = conv(2)
    network = chain(twice, dl.ReLU(), twice)
    fused = fuse_updates(graph_of(network))
    assert "gradient_sum" in kernels(fused)
    assert kernels(fused).count("conv2d_wgrad") == 2
    assert "linear_wgrad+sgd_momentum" in kernels(fused)
    keeps_bits(network, fuse_updates)


def observe(seen: Any, value: Any) -> None:
    seen[...] = value.reshape(-1)[0]


def observed(graph: StepGraph, value: Tensor, writes: Tensor, behind: Op) -> StepGraph:
    """`graph` with one more op behind another, that reads `value`."""
    op = Op(observe, "", "other", (writes,), (value,))
    place = graph.ops.index(behind) + 1
    return replace(graph, ops=(*graph.ops[:place], op, *graph.ops[place:]))


def test_a_gradient_that_is_read_twice_is_kept() -> None:
    graph = graph_of(chain(conv()))
    wgrad = op_of(graph, "conv2d_wgrad")
    norm = Tensor("norm", (), "float32", "scratch")
    fused = fuse_updates(observed(graph, wgrad.writes[0], norm, wgrad))
    assert "conv2d_wgrad" in kernels(fused)
    assert "linear_wgrad+sgd_momentum" in kernels(fused)


def test_wgrad_does_not_wait_past_a_write_to_what_it_reads() -> None:
    graph = graph_of(chain(conv()))
    wgrad = op_of(graph, "conv2d_wgrad")
    dy = next(t for t in wgrad.reads if t.kind == "gradient")
    norm = Tensor("norm", (), "float32", "scratch")
    fused = fuse_updates(observed(graph, norm, dy, wgrad))
    assert "conv2d_wgrad" in kernels(fused)
    assert "conv2d_wgrad+sgd_momentum" not in kernels(fused)


# -- signs -----------------------------------------------------------------------------------------


def test_signs_take_the_place_of_a_relus_output() -> None:
    network = chain(conv(), dl.ReLU(), conv())
    graph = graph_of(network)
    packed = keep_signs(graph)
    y = op_of(graph, "relu_forward").writes[0]
    dgrad, pack = op_of(packed, "keep_positive"), op_of(packed, "pack_signs")
    assert "relu_dgrad" not in kernels(packed)
    assert len(packed.ops) == len(graph.ops) + 1
    (signs,) = pack.writes
    assert pack.reads == (y,)
    assert signs.nbytes == y.size // 8
    assert y not in dgrad.reads
    assert signs in dgrad.reads
    assert dgrad.in_place == ((0, 0),)
    maker = next(op for op in packed.ops if dgrad.reads[0] in op.writes)
    assert packed.ops.index(pack) == packed.ops.index(maker) - 1
    keeps_bits(network, keep_signs)


def test_relus_in_a_row_and_read_twice_keep_signs() -> None:
    x = dl.Input((8, 8, 2))
    y = dl.ReLU()(dl.ReLU()(conv()(x)))
    network = ended(x, dl.ReLU()(dl.Add()(y, conv()(y))))
    packed = keep_signs(graph_of(network))
    assert kernels(packed).count("pack_signs") == 3 == kernels(packed).count("keep_positive")
    keeps_bits(network, keep_signs)


def test_signs_of_an_odd_number_of_elements() -> None:
    keeps_bits(chain(dl.Conv2d(1, 1), dl.ReLU(), dl.Conv2d(3, 1), image=(3, 3, 1)), keep_signs)


def test_no_signs_of_an_output_or_of_another_activation() -> None:
    graph = graph_of(chain(conv(), dl.ReLU(), conv()))
    shown = replace(graph, outputs=(*graph.outputs, op_of(graph, "relu_forward").writes[0]))
    assert keep_signs(shown).ops == shown.ops
    for layer in (dl.LeakyReLU(), dl.Tanh(), dl.Sigmoid(), dl.GELU()):
        graph = graph_of(chain(conv(), layer, conv()))
        assert keep_signs(graph).ops == graph.ops


# -- updates as early as may be --------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [dl.SGD(), MOMENTUM, dl.Adam()], ids=repr)
def test_updates_move_up_and_no_dependency_breaks(optimizer: dl.Optimizer) -> None:
    twice = conv(4)
    network = chain(conv(), dl.BatchNorm2d(), dl.ReLU(), twice, dl.Dropout(), twice)
    graph = graph_of(network, optimizer)
    hoisted = hoist_updates(graph)
    assert sorted(map(id, hoisted.ops)) == sorted(map(id, graph.ops))
    place = {op: i for i, op in enumerate(hoisted.ops)}
    for op, before in zip(graph.ops, dependencies(graph.ops), strict=True):
        assert all(place[graph.ops[j]] < place[op] for j in before)
    for op in hoisted.ops:  # nothing that could stand higher: only updates stand between
        if op.phase == "update":
            i = place[op]
            while hoisted.ops[i].phase == "update":
                i -= 1
            below = dependencies(hoisted.ops)[place[op]]
            assert i in below or any(hoisted.ops[j].phase == "update" and j > i for j in below)
    keeps_bits(network, hoist_updates, optimizer=optimizer)


# -- differentiate ---------------------------------------------------------------------------------


def test_there_is_no_gradient_of_the_images() -> None:
    graph = graph_of(chain(conv(), dl.ReLU(), conv()))
    (images, target) = graph.inputs
    written = [t for op in graph.ops for t in op.writes]
    assert not any(graph.gradient_of.get(t) in (images, target) for t in written)
    assert kernels(graph).count("conv2d_dgrad") == 1
    assert kernels(graph).count("conv2d_wgrad") == 2


def test_no_gradient_flows_to_where_nothing_is_trained() -> None:
    graph = graph_of(chain(dl.MaxPool2d(2), dl.ReLU(), dl.AvgPool2d(2)))
    assert not [k for k in kernels(graph) if k.endswith("dgrad") and "softmax" not in k]


@pytest.mark.parametrize("readers", [2, 3])
def test_contributions_are_summed_in_the_order_of_the_backward_walk(readers: int) -> None:
    x = dl.Input((6, 6, 2))
    y = dl.Tanh()(conv()(x, name="root"))
    parts = [conv()(y, name=f"reader{i}") for i in range(readers)]
    graph = graph_of(ended(x, dl.Concat()(*parts)))
    total = op_of(graph, "gradient_sum")
    maker = {t: op for op in graph.ops for t in op.writes}
    order = [maker[t].layer for t in total.reads]
    assert order == [f"reader{i}" for i in reversed(range(readers))]
    assert total.phase == "dgrad"
    assert total.reads[0].shape == total.writes[0].shape


def gradients(network: dl.Network, images: Any, labels: Any) -> dict[str, Any]:
    """Of every parameter, as what a step of plain SGD with lr = 1 takes off."""
    how = {"memory": "naive", "precision": "float64", "optimizer": dl.SGD(1.0)}
    step = dl.compile(network, len(images), **how)
    before = {n: a.copy() for n, a in variables(step).items()}
    step(images, labels)
    names = [v.name for v in step.plan.graph.variables if v.tensor.kind == "parameter"]
    return {name: before[name] - step.array(name) for name in names}


def assert_gradients(network: dl.Network, batch: int) -> None:
    """Each parameter's gradient against the central difference of the loss along a random line."""
    generator = np.random.default_rng(1)
    ((images, labels),) = random_batches(generator, batch, network.image, CLASSES, count=1)
    how = {"memory": "naive", "precision": "float64", "optimizer": dl.SGD(0.0)}
    probe = dl.compile(network, batch, **how)
    h = 1e-5
    for name, gradient in gradients(network, images, labels).items():
        along = generator.choice([-1.0, 1.0], gradient.shape)
        start = probe.array(name).copy()
        losses = []
        for sign in (1, -1):
            probe.array(name)[...] = start + sign * h * along
            probe.array("step")[...] = 0  # the same dropout masks
            losses.append(probe(images, labels))
        probe.array(name)[...] = start
        numeric = (losses[0] - losses[1]) / (2 * h)
        bound = 1e-6 * float(np.linalg.norm(gradient)) + 1e-9
        assert float(np.vdot(along, gradient)) == pytest.approx(numeric, rel=1e-5, abs=bound), name


def one_tensor_three_times() -> dl.Network:
    x = dl.Input((5, 5, 2))
    c = dl.Tanh()(conv()(x))
    y = dl.Add()(c, c, c)
    return ended(x, dl.Tanh()(dl.Add()(y, conv()(c))))


def read_twice_and_concatenated() -> dl.Network:
    x = dl.Input((5, 5, 2))
    c = conv()(x)
    return ended(x, dl.Concat()(dl.GELU()(c), c, dl.AvgPool2d(3, 1, 1)(c), c))


def one_layer_three_times() -> dl.Network:
    x = dl.Input((5, 5, 2))
    layer = conv(2)
    return ended(x, dl.Add()(layer(layer(x)), layer(x), x))


NETWORKS = [one_tensor_three_times, read_twice_and_concatenated, one_layer_three_times]


@pytest.mark.parametrize("build", NETWORKS)
def test_gradients_of_what_is_read_often(build: Callable[[], dl.Network]) -> None:
    assert_gradients(build(), 3)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(networks(smooth=True, most=7))
def test_gradients_of_random_networks(drawn: tuple[dl.Network, int]) -> None:
    network, batch = drawn
    note(described(network))
    assert_gradients(network, batch)
