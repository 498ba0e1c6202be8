"""PyTorch's weights mean the same, whatever stands between images and the Linear that reads them.

PyTorch flattens images as (C, H, W), minidl as (H, W, C). Each row is a network and the same
written in NumPy, float64 and NCHW, as PyTorch computes it; the weights are drawn, in PyTorch's
order. Each way in and out must compute what NumPy does: a state dict, the three formats of files,
ONNX written and read. `Reference` and the rows' functions share nothing with minidl.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.interop import export_onnx, import_onnx, load_weights, save_weights
from minidl.ir import ArgumentError, Array, ShapeError, Site, Tensor
from tests.interop.pickled import checkpoint

IMAGE = (3, 4, 2)
"""Height, width, channels: all differ, so that no two axes can be swapped unseen."""


@dataclass(frozen=True)
class Reference:
    """Layers on NCHW arrays, with weights by name as PyTorch has them."""

    weights: dict[str, Array]

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def conv(self, name: str, x: Array, groups: int = 1) -> Array:
        """Without padding, stride 1."""
        w, b = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        k, c, r, s = w.shape
        h, v = x.shape[2] - r + 1, x.shape[3] - s + 1
        y = np.zeros((len(x), k, h, v))
        for f in range(k):
            first = f // (k // groups) * c
            for i in range(h):
                for j in range(v):
                    window = x[:, first : first + c, i : i + r, j : j + s]
                    y[:, f, i, j] = (window * w[f]).sum(axis=(1, 2, 3)) + b[f]
        return y

    def batch_norm(self, name: str, x: Array) -> Array:
        w, b, mean, var = (
            self.weights[f"{name}.{own}"].reshape(-1, *(1,) * (x.ndim - 2))
            for own in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * w + b


def flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def gelu(x: Array) -> Array:
    return np.vectorize(lambda v: v / 2 * (1 + math.erf(v / math.sqrt(2))))(x)


def sides(*parts: Array) -> Array:
    return np.concatenate(parts, axis=1)


# -- a layer of one's own with something for each feature ------------------------------------------


@dataclass(frozen=True, eq=False)
class FeatureNorm(dl.Layer):
    """y = (x - mean) w, PyTorch's BatchNorm1d without what is constant; forward alone."""

    order = "same"
    along: bool = True

    def output_shape(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(x.shape)
        how: dict[str, Any] = {"along": (0, x)} if self.along else {}
        w = site.parameter("weight", x.shape[1:], dl.initial.constant(1.0), **how)
        mean = site.state("running_mean", x.shape[1:], **how)
        site.forward(scaled, writes=[y], reads=[x, w, mean])
        site.dgrad(given_on, writes=[site.gradient(x)], reads=[site.gradient(y)])
        return y


def scaled(y: Array, x: Array, w: Array, mean: Array) -> None:
    y[...] = (x - mean) * w


def given_on(dx: Array, dy: Array) -> None:
    dx[...] = dy


@dataclass(frozen=True, eq=False)
class Reversed(dl.Layer):
    """The features from the last to the first, and not a word of their order."""

    def output_shape(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        y = site.activation(inputs[0].shape)
        site.forward(reverse, writes=[y], reads=[inputs[0]])
        return y


def reverse(y: Array, x: Array) -> None:
    y[...] = x[:, ::-1]


# -- what stands between the images and the Linear -------------------------------------------------

Body = Callable[[dl.Node], dl.Node]


@dataclass(frozen=True)
class Row:
    name: str
    network: Body
    """From the images to what the last Linear, `fc`, reads."""
    reference: Callable[[Reference, Array], Array]
    """The same of NCHW images."""
    onnx: bool = True
    settings: tuple[tuple[str, Any], ...] = ()


def conv(features: int, kernel: int = 1, name: str = "conv", **how: Any) -> Body:
    return lambda x: dl.Conv2d(features, kernel, **how)(x, name=name)


def chain(*layers: dl.Layer) -> Body:
    def body(x: dl.Node) -> dl.Node:
        for layer in layers:
            x = layer(x)
        return x

    return body


def two(x: dl.Node) -> tuple[dl.Node, dl.Node]:
    """Flattened images of 3 and of 5 channels."""
    return tuple(dl.Flatten()(conv(k, name=n)(x)) for k, n in ((3, "a"), (5, "b")))  # type: ignore[return-value]


def of_two(r: Reference, x: Array) -> tuple[Array, Array]:
    return flat(r.conv("a", x)), flat(r.conv("b", x))


def vector(x: dl.Node, features: int = 7) -> dl.Node:
    return dl.Linear(features)(dl.Flatten()(x), name="vector")


def of_vector(r: Reference, x: Array) -> Array:
    return r.linear("vector", flat(x))


def shared_twice(x: dl.Node) -> dl.Node:
    layer = dl.Linear(6)
    left = layer(dl.Flatten()(x), name="shared")
    return dl.Concat()(left, layer(dl.Flatten()(dl.ReLU()(x)), name="second"))


def sums_of_concats(x: dl.Node) -> dl.Node:
    a, b = two(x)
    return dl.Add()(dl.Concat()(a, b), dl.Concat()(dl.ReLU()(a), dl.Tanh()(b)))


def sizes(x: dl.Node) -> dl.Node:
    small = dl.Flatten()(conv(4, 2, name="small")(x))
    return dl.Concat()(small, dl.Flatten()(dl.AvgPool2d((1, 2))(x)), dl.Flatten()(x))


def halves(x: Array) -> Array:
    """Means of pairs of columns."""
    return (x[..., ::2] + x[..., 1::2]) / 2


MEAN = tuple(0.1 * k for k in range(24))
"""By feature, in minidl's order: of a user, not of a file."""

ROWS = [
    Row("flatten", dl.Flatten(), lambda r, x: flat(x)),
    Row("vector", lambda x: vector(x), of_vector),
    Row("relu", chain(dl.Flatten(), dl.ReLU()), lambda r, x: relu(flat(x))),
    Row("leaky", chain(dl.Flatten(), dl.LeakyReLU(0.3)),
        lambda r, x: np.where(flat(x) > 0, flat(x), 0.3 * flat(x))),
    Row("sigmoid", chain(dl.Flatten(), dl.Sigmoid()), lambda r, x: 1 / (1 + np.exp(-flat(x)))),
    Row("tanh", chain(dl.Flatten(), dl.Tanh()), lambda r, x: np.tanh(flat(x))),
    Row("gelu", chain(dl.Flatten(), dl.GELU()), lambda r, x: gelu(flat(x))),
    Row("dropout", chain(dl.Flatten(), dl.Dropout(0.4), dl.Dropout(0.0)), lambda r, x: flat(x)),
    Row("normalize", chain(dl.Flatten(), dl.Normalize(0.5, 2.0)), lambda r, x: (flat(x) - 0.5) / 2),
    Row("normalize by feature", chain(dl.Flatten(), dl.Normalize(MEAN, 2.0)),
        lambda r, x: (flat(x) - flat(np.reshape(MEAN, (1, *IMAGE)).transpose(0, 3, 1, 2))) / 2),
    Row("a sequential", lambda x: dl.Sequential(dl.Flatten(), dl.Sequential(dl.ReLU()))(x),
        lambda r, x: relu(flat(x))),
    Row("as many features", lambda x: dl.Linear(24)(dl.ReLU()(vector(x, 24)), name="second"),
        lambda r, x: r.linear("second", relu(of_vector(r, x)))),
    # images joined first
    Row("concat of images", lambda x: dl.Flatten()(dl.Concat()(conv(3)(x), x)),
        lambda r, x: flat(sides(r.conv("conv", x), x))),
    Row("add of images", lambda x: dl.Flatten()(dl.Add()(conv(2)(x), x)),
        lambda r, x: flat(r.conv("conv", x) + x)),
    Row("groups", lambda x: dl.Flatten()(conv(6, 2, groups=2)(x)),
        lambda r, x: flat(r.conv("conv", x, 2))),
    Row("batch norm", lambda x: dl.Flatten()(dl.BatchNorm2d()(x, name="norm")),
        lambda r, x: flat(r.batch_norm("norm", x))),
    Row("max-pool", chain(dl.MaxPool2d((1, 2)), dl.Flatten()),
        lambda r, x: flat(np.maximum(x[..., ::2], x[..., 1::2]))),
    Row("average", chain(dl.AvgPool2d((1, 2)), dl.Flatten()), lambda r, x: flat(halves(x))),
    Row("global average", chain(dl.AdaptiveAvgPool2d(1), dl.Flatten()),
        lambda r, x: x.mean(axis=(2, 3))),
    Row("adaptive", chain(dl.AdaptiveAvgPool2d((3, 2)), dl.Flatten()),
        lambda r, x: flat(halves(x))),
    Row("one channel", lambda x: dl.Flatten()(conv(1)(x)), lambda r, x: flat(r.conv("conv", x))),
    # vectors joined
    Row("concat of flattened", lambda x: dl.Concat()(*two(x)), lambda r, x: sides(*of_two(r, x))),
    Row("concat, image and vector", lambda x: dl.Concat()(dl.Flatten()(x), vector(x)),
        lambda r, x: sides(flat(x), of_vector(r, x))),
    Row("concat, vector and image", lambda x: dl.Concat()(vector(x), dl.Flatten()(x)),
        lambda r, x: sides(of_vector(r, x), flat(x))),
    Row("concat, vector, image, vector",
        lambda x: dl.Concat()(v := vector(x), dl.Flatten()(x), v),
        lambda r, x: sides(of_vector(r, x), flat(x), of_vector(r, x))),
    Row("concat of one twice", lambda x: dl.Concat()(f := dl.Flatten()(x), f),
        lambda r, x: sides(flat(x), flat(x))),
    Row("concat of concats",
        lambda x: dl.Concat()(vector(x), dl.ReLU()(dl.Concat()(*two(x)))),
        lambda r, x: sides(of_vector(r, x), relu(sides(*of_two(r, x))))),
    Row("concat of sizes", sizes,
        lambda r, x: sides(flat(r.conv("small", x)), flat(halves(x)), flat(x))),
    Row("concat, then dropout and relu",
        lambda x: dl.ReLU()(dl.Dropout()(dl.Concat()(*two(x)))),
        lambda r, x: relu(sides(*of_two(r, x)))),
    Row("concat of pooled", lambda x: dl.Concat()(
            dl.Flatten()(dl.AdaptiveAvgPool2d(1)(x)), dl.Flatten()(x)),
        lambda r, x: sides(x.mean(axis=(2, 3)), flat(x))),
    Row("add of flattened", lambda x: dl.Add()(dl.Flatten()(x), dl.Flatten()(conv(2)(x))),
        lambda r, x: flat(x) + flat(r.conv("conv", x))),
    Row("add of one twice", lambda x: dl.Add()(f := dl.Flatten()(x), f), lambda r, x: 2 * flat(x)),
    Row("add of three", lambda x: dl.Add()(f := dl.Flatten()(x), dl.ReLU()(f), dl.Tanh()(f)),
        lambda r, x: flat(x) + relu(flat(x)) + np.tanh(flat(x))),
    Row("add of vectors", lambda x: dl.Add()(v := vector(x), dl.ReLU()(v)),
        lambda r, x: of_vector(r, x) + relu(of_vector(r, x))),
    Row("add of concats", sums_of_concats,
        lambda r, x: sides(*of_two(r, x))
        + sides(relu(of_two(r, x)[0]), np.tanh(of_two(r, x)[1]))),
    Row("shared, in one order", shared_twice,
        lambda r, x: sides(r.linear("shared", flat(x)), r.linear("shared", flat(relu(x))))),
    # layers of one's own
    Row("something for each feature", chain(dl.Flatten(), FeatureNorm()),
        lambda r, x: (flat(x) - r.weights["featurenorm1.running_mean"])
        * r.weights["featurenorm1.weight"], onnx=False),
    Row("something for each of several", lambda x: FeatureNorm()(dl.Concat()(*two(x)), name="n"),
        lambda r, x: (sides(*of_two(r, x)) - r.weights["n.running_mean"]) * r.weights["n.weight"],
        onnx=False),
    # how it is compiled
    Row("slices", lambda x: dl.Concat()(*two(x)), lambda r, x: sides(*of_two(r, x)),
        settings=(("slices", 2),)),
    Row("slices of flattened", lambda x: dl.ReLU()(dl.Flatten()(conv(3)(x))),
        lambda r, x: relu(flat(r.conv("conv", x))), settings=(("slices", 2),)),
]  # fmt: skip

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@dataclass(frozen=True)
class Known:
    """A row's network, weights as PyTorch would have them, and what it answers to images."""

    network: dl.Network
    weights: dict[str, Array]
    images: Array
    answers: Array

    def step(self, **settings: Any) -> dl.Step:
        return dl.compile(self.network, 2, seed=5, **settings)


def known(row: Row) -> Known:
    x = dl.Input(IMAGE)
    network = dl.Network(x, dl.Linear(5)(row.network(x), name="fc"))
    generator = np.random.default_rng(len(row.name))
    weights = {}
    for name, array in dl.compile(network, 2).state_dict().items():
        drawn = generator.normal(size=array.shape)
        weights[name] = np.abs(drawn) if name.endswith("running_var") else drawn
        if array.dtype.kind == "i":
            weights[name] = array
    images = generator.normal(size=(3, *IMAGE))
    reference = Reference(weights)
    before = row.reference(reference, images.transpose(0, 3, 1, 2))
    return Known(network, weights, images, reference.linear("fc", before))


def close(found: Array, expected: Array, share: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= share * np.abs(expected).max()


@each_row
def test_a_state_dict(row: Row) -> None:
    case = known(row)
    step = case.step(precision="float64", **dict(row.settings))
    step.load_state_dict(case.weights)
    close(step.predict(case.images), case.answers, 1e-13)
    for name, array in step.state_dict().items():
        np.testing.assert_array_equal(array, case.weights[name])


def write_safetensors(path: Path, arrays: dict[str, Array]) -> None:
    save_weights(path, arrays)


def write_pth(path: Path, arrays: dict[str, Array]) -> None:
    path.write_bytes(checkpoint({n: a.astype(np.float32) for n, a in arrays.items()}))


def write_npz(path: Path, arrays: dict[str, Array]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", [write_safetensors, write_pth, write_npz])
@each_row
def test_a_file(row: Row, write: Callable[..., None], tmp_path: Path) -> None:
    case = known(row)
    single = {
        n: a if a.dtype.kind == "i" else a.astype(np.float32) for n, a in case.weights.items()
    }
    write(tmp_path / "weights", single)
    step = case.step(**dict(row.settings))
    load_weights(step, tmp_path / "weights")
    close(step.predict(case.images), case.answers, 1e-5)


@pytest.mark.parametrize("row", [row for row in ROWS if row.onnx], ids=lambda row: row.name)
def test_onnx_written_and_read(row: Row, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    case, path = known(row), tmp_path / "m.onnx"
    step = case.step()
    step.load_state_dict(case.weights)
    export_onnx(case.network, step, path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.ascontiguousarray(case.images.transpose(0, 3, 1, 2), np.float32)
    (found,) = session.run(None, {"input": images})
    close(found, case.answers, 1e-5)
    network, state = import_onnx(path)
    again = dl.compile(network, 2, seed=6)
    again.load_state_dict(state)
    close(again.predict(case.images), case.answers, 1e-5)
    np.testing.assert_array_equal(again.predict(case.images), step.predict(case.images))


# -- where two orders meet -------------------------------------------------------------------------


def mixed_add(x: dl.Node) -> dl.Node:
    return dl.Add()(vector(x, 24), dl.Flatten()(x), name="sum")


def mixed_add_of_images(x: dl.Node) -> dl.Node:
    wide = dl.Conv2d(4, (3, 1))(x, name="wide")
    return dl.Add()(dl.Flatten()(dl.Conv2d(8, 1)(wide)), dl.Flatten()(dl.Conv2d(4, (2, 1))(x)))


def mixed_add_of_concats(x: dl.Node) -> dl.Node:
    a, b = two(x)
    return dl.Add()(dl.Concat()(a, b), dl.Concat()(b, a))


def shared_in_two_orders(x: dl.Node) -> dl.Node:
    layer = dl.Linear(24)
    return layer(layer(dl.Flatten()(x), name="one"), name="two")


def unsaid(x: dl.Node) -> dl.Node:
    return Reversed()(dl.Flatten()(x), name="reversed")


def without_a_layout(x: dl.Node) -> dl.Node:
    return FeatureNorm(along=False)(dl.Flatten()(x), name="norm")


@dataclass(frozen=True, eq=False)
class Halved(dl.Layer):
    """It says that it keeps what it cuts."""

    order = "same"

    def output_shape(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0][0], inputs[0][1] // 2

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        return site.activation(self.output_shape(inputs[0].shape))


REFUSED: dict[str, tuple[Body, str]] = {
    "add, vector and image": (
        mixed_add,
        "layer 'sum', Add(), input (2, 24), (2, 24): its inputs' features lie in different orders: "
        "vector.y is a vector of 24; flatten2.view is an image (3, 4, 2), flattened: put a Linear "
        "behind",
    ),
    "add of other images": (
        mixed_add_of_images,
        "flatten1.view is an image (1, 4, 8), flattened; flatten2.view is an image (2, 4, 4), "
        "flattened",
    ),
    "add of other concats": (
        mixed_add_of_concats,
        "concat1.y is an image (3, 4, 3), flattened, then an image (3, 4, 5), flattened; concat2.y",
    ),
    "one Linear, two orders": (
        shared_in_two_orders,
        "layer 'two', Linear(features=24, bias=True), input (2, 24): one.weight is shared, and its "
        "inputs' features lie in two orders: an image (3, 4, 2), flattened at layer 'one', a "
        "vector of 24 at 'two': use two layers: PyTorch flattens",
    ),
    "a layer that says nothing": (
        unsaid,
        "layer 'reversed', Reversed(), input (2, 24): it does not say in which order its output's "
        "features lie: flatten1.view is an image (3, 4, 2), flattened: give the class order",
    ),
    "no layout": (
        without_a_layout,
        "norm.weight, norm.running_mean with something for each feature of flatten1.view, an image "
        "(3, 4, 2), flattened, has no layout for PyTorch: make it with along=(axis, x)",
    ),
    "a layer that is wrong": (
        chain(dl.Flatten(), Halved()),
        'it has order = "same" and makes other features, 12: flatten1.view is an image',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_mean_something_else_is_refused(case: str, tmp_path: Path) -> None:
    body, message = REFUSED[case]
    x = dl.Input(IMAGE)
    network = dl.Network(x, dl.Linear(5)(body(x), name="fc"))
    for batch, settings in ((2, {}), (4, {"slices": 2})):
        with pytest.raises(ShapeError) as found:
            dl.compile(network, batch, **settings)  # type: ignore[arg-type]
        assert message in str(found.value) or settings
    with pytest.raises(ShapeError):
        export_onnx(network, {}, tmp_path / "m.onnx")


@pytest.mark.parametrize("case", ["one channel", "one pixel", "vectors"])
def test_what_has_one_order_only_is_not_refused(case: str) -> None:
    """The same layers where both orders are one."""
    x = dl.Input({"one channel": (4, 6, 1), "one pixel": (1, 1, 24), "vectors": (24,)}[case])
    f = x if case == "vectors" else dl.Flatten()(x)
    shared = dl.Linear(24)
    y = dl.Add()(shared(shared(f, name="one"), name="two"), f)
    y = FeatureNorm(along=False)(Reversed()(y))
    step = dl.compile(dl.Network(x, dl.Linear(5)(y, name="fc")), 2)
    weights = step.state_dict()
    weights["fc.weight"] = np.arange(5 * 24, dtype=np.float32).reshape(5, 24)
    step.load_state_dict(weights)
    np.testing.assert_array_equal(step.array("fc.weight"), weights["fc.weight"])


# -- an output that is a flattened image -----------------------------------------------------------


def test_an_output_that_is_a_flattened_image(tmp_path: Path) -> None:
    """It comes as NumPy flattens NHWC images, from a step and from ONNX, which both say so."""
    x = dl.Input(IMAGE)
    network = dl.Network(x, dl.Flatten()(dl.Conv2d(3, 1)(x, name="conv")))
    said = r"the network's output is an image \(3, 4, 3\), flattened: .* PyTorch has them as \(C, H"
    with pytest.warns(UserWarning, match=said) as noted:
        step = dl.compile(network, 2, loss=dl.MSE())
    assert noted[0].filename == __file__
    generator = np.random.default_rng(1)
    weights = {n: generator.normal(size=a.shape) for n, a in step.state_dict().items()}
    step.load_state_dict(weights)
    images = generator.normal(size=(2, *IMAGE))
    answers = Reference(weights).conv("conv", images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    close(step.predict(images), flat(answers), 1e-5)
    runtime = pytest.importorskip("onnxruntime")
    with pytest.warns(UserWarning, match=said) as noted:
        export_onnx(network, step, tmp_path / "m.onnx")
    assert noted[0].filename == __file__
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
    close(session.run(None, {"input": first})[0], flat(answers), 1e-5)


# -- models that others wrote ----------------------------------------------------------------------

Node = tuple[str, list[str], dict[str, Any]]


def model(path: Path, nodes: list[Node], features: int) -> dict[str, Array]:
    """A model of an image `x`, whose nodes' outputs are 0, 1, ...; its weights `w`."""
    onnx = pytest.importorskip("onnx")
    helper, generator = onnx.helper, np.random.default_rng(2)
    arrays = {
        "fc.weight": generator.normal(size=(5, features)),
        "square.weight": generator.normal(size=(24, 24)),
        "conv.weight": generator.normal(size=(3, 2, 1, 1)),
        "minus": generator.normal(size=24),
        "scale": generator.uniform(1, 2, 24),
    }
    used = {name for _, inputs, _ in nodes for name in inputs}
    graph = helper.make_graph(
        [
            helper.make_node(op, inputs, [str(i)], name=f"node{i}", **how)
            for i, (op, inputs, how) in enumerate(nodes)
        ],
        "graph",
        [helper.make_tensor_value_info("x", 1, ["batch", 2, 3, 4])],
        [helper.make_tensor_value_info(str(len(nodes) - 1), 1, None)],
        [
            onnx.numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in arrays.items()
            if name in used
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return arrays


FLAT: Node = ("Flatten", ["x"], {})
GEMM: dict[str, Any] = {"transB": 1}

OTHERS: dict[str, tuple[list[Node], int, Callable[[dict[str, Array], Array], Array]]] = {
    "flatten": ([FLAT, ("Gemm", ["0", "fc.weight"], GEMM)], 24, lambda w, x: flat(x)),
    "concat": (
        [
            FLAT,
            ("Conv", ["x", "conv.weight"], {}),
            ("Flatten", ["1"], {}),
            ("Gemm", ["0", "square.weight"], GEMM),
            ("Concat", ["2", "3", "0"], {"axis": 1}),
            ("Gemm", ["4", "fc.weight"], GEMM),
        ],
        84,
        lambda w, x: sides(
            flat(Reference({**w, "conv.bias": np.zeros(3)}).conv("conv", x)),
            flat(x) @ w["square.weight"].T,
            flat(x),
        ),
    ),
    "add": (
        [
            FLAT,
            ("Relu", ["0"], {}),
            ("Add", ["0", "1"], {}),
            ("Gemm", ["2", "fc.weight"], GEMM),
        ],
        24,
        lambda w, x: flat(x) + relu(flat(x)),
    ),
    "constants by feature": (
        [
            FLAT,
            ("Sub", ["0", "minus"], {}),
            ("Mul", ["1", "scale"], {}),
            ("Gemm", ["2", "fc.weight"], GEMM),
        ],
        24,
        lambda w, x: (flat(x) - w["minus"]) * w["scale"],
    ),
    "concat of images": (
        [
            ("Concat", ["x", "x"], {"axis": 1}),
            ("Flatten", ["0"], {}),
            ("Gemm", ["1", "fc.weight"], GEMM),
        ],
        48,
        lambda w, x: flat(sides(x, x)),
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_models_that_others_wrote(case: str, tmp_path: Path) -> None:
    nodes, features, reference = OTHERS[case]
    weights = model(tmp_path / "m.onnx", nodes, features)
    network, state = import_onnx(tmp_path / "m.onnx")
    step = dl.compile(network, 2)
    step.load_state_dict(state)
    images = np.random.default_rng(3).normal(size=(2, *IMAGE))
    expected = reference(weights, images.transpose(0, 3, 1, 2)) @ weights["fc.weight"].T
    close(step.predict(images), expected, 1e-5)


UNREADABLE: dict[str, tuple[list[Node], str]] = {
    "mixed add": (
        [FLAT, ("Gemm", ["0", "square.weight"], GEMM), ("Add", ["0", "1"], {})],
        "node 'node2', 'Add': .*its inputs' features lie in different orders: '0' is an image "
        r"\(3, 4, 2\), flattened; '1' is a vector of 24",
    ),
    "one Gemm, two orders": (
        [
            FLAT,
            ("Gemm", ["0", "square.weight"], GEMM),
            ("Gemm", ["1", "square.weight"], GEMM),
        ],
        r"node 'node2', 'Gemm': its weights are those of 'square', whose input is an image "
        r"\(3, 4, 2\), flattened, and its own a vector of 24",
    ),
    "a flattened output": (
        [FLAT, ("Relu", ["0"], {})],
        r"its output is an image \(3, 4, 2\), flattened, \(C, H, W\) there, \(H, W, C\) in minidl",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_models_that_would_mean_something_else(case: str, tmp_path: Path) -> None:
    nodes, message = UNREADABLE[case]
    model(tmp_path / "m.onnx", nodes, 24)
    with pytest.raises(ArgumentError, match=r"m\.onnx: " + message):
        import_onnx(tmp_path / "m.onnx")
