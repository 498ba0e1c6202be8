"""ONNX models of every layer and of the real networks, run by ONNX's own reference and onnxruntime.

Measured: at most 1e-6 of the largest output between any two of the three; the bound is ten times
that. What is read back has the same weights and predicts the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.interop import export_onnx, import_onnx
from minidl.ir import ArgumentError, Array, ShapeError
from tests.work import calls

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
onnxruntime = pytest.importorskip("onnxruntime")

CLOSE = 1e-5
"""Of the largest output."""

IMAGES: dict[str, tuple[int, int, int]] = {
    "lenet": (32, 32, 1),
    "alexnet": (71, 63, 3),
    "alexnet_2012": (99, 67, 3),
    "vgg_small": (24, 32, 3),
    "resnet18": (64, 48, 3),
    "googlenet": (64, 48, 3),
    "densenet121": (64, 32, 3),
}
"""Not square, so that no axes can swap; the adaptive pool of AlexNet has bins that share pixels,
that of ResNet has bins of one size. VGG's own matrices are large to write and nothing new."""


SLOW = ("alexnet", "densenet121")
LARGE = ("alexnet_2012", "densenet121")
"""Whose layers are others' too: their weights alone are read back, and one runtime is asked."""


def made_images(image: tuple[int, ...], count: int = 3) -> Array:
    return np.random.default_rng(7).normal(size=(count, *image)).astype(np.float32)


def channels_first(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim == 4 else x


def by_onnxruntime(path: Path, inputs: Mapping[str, Array]) -> Array:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, dict(inputs))
    return np.asarray(output)


def by_reference(path: Path, inputs: Mapping[str, Array]) -> Array:
    (output,) = reference.ReferenceEvaluator(str(path)).run(None, dict(inputs))
    return np.asarray(output)


def close(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()


def settle(step: dl.Step) -> None:
    """Statistics that are no longer those of the start."""
    generator = np.random.default_rng(3)
    state = step.state_dict()
    for name, array in state.items():
        if name.endswith(("running_mean", "running_var", "bias")):
            state[name] = (array + generator.uniform(0, 0.1, array.shape)).astype(np.float32)
        if name.endswith("num_batches_tracked"):
            state[name] = array + 5
    step.load_state_dict(state)


def compared(net: dl.Network, path: Path, **how: Any) -> tuple[dl.Step, Array]:
    """Export with weights of a step; both runtimes must agree with `predict`."""
    step = dl.compile(net, 2, loss=dl.MSE(), optimizer=dl.SGD(momentum=0))
    settle(step)
    export_onnx(net, step, path, **how)
    x = made_images(net.image)
    expected = step.predict(x)
    given = {"input": channels_first(x)}
    close(by_onnxruntime(path, given), channels_first(expected))
    if not any(node.op_type == "LRN" for node in onnx.load(path).graph.node):
        # onnx 1.23's reference of LRN counts images where it should count channels
        close(by_reference(path, {"input": given["input"][:1]}), channels_first(expected[:1]))
    return step, expected


def same_weights(step: dl.Step, state: dict[str, Array]) -> None:
    before = step.state_dict()
    assert list(state) == list(before)
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)
        assert state[name].dtype == array.dtype


def read_back(step: dl.Step, path: Path, expected: Array, x: Array) -> dl.Network:
    """What is imported has the same names, weights and predictions, to the bit."""
    net, state = import_onnx(path)
    same_weights(step, state)
    batch = step.plan.batch
    other = dl.compile(net, batch, loss=dl.MSE(), optimizer=dl.SGD(momentum=0), seed=9)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.predict(x), expected)
    return net


@pytest.mark.parametrize(
    "model",
    [pytest.param(m, marks=pytest.mark.slow if m in SLOW else ()) for m in IMAGES],
)
def test_models(model: str, tmp_path: Path) -> None:
    net = dl.models.MODELS[model](10, IMAGES[model])
    if model not in LARGE:
        step, expected = compared(net, tmp_path / "m.onnx")
        assert read_back(step, tmp_path / "m.onnx", expected, made_images(net.image)).name == model
        return
    step, x = dl.compile(net, 2), made_images(net.image)
    export_onnx(net, step, tmp_path / "m.onnx")
    close(by_onnxruntime(tmp_path / "m.onnx", {"input": channels_first(x)}), step.predict(x))
    same_weights(step, import_onnx(tmp_path / "m.onnx")[1])


def test_names_are_the_state_dicts(tmp_path: Path) -> None:
    net = chain([dl.BatchNorm2d(), dl.Flatten(), dl.Linear(3)])
    step, _ = compared(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    names = [n for n in step.state_dict() if not n.endswith("num_batches_tracked")]
    assert [t.name for t in model.graph.initializer] == names
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["batch", 4, 9, 7]
    assert [model.graph.input[0].name, model.graph.output[0].name] == ["input", "output"]


# -- every layer -----------------------------------------------------------------------------------

LAYERS: dict[str, list[dl.Layer]] = {
    "conv": [
        dl.Conv2d(4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        dl.Conv2d(6, 1, groups=2, bias=False),
    ],
    "relu": [dl.ReLU()],
    "leaky relu": [dl.LeakyReLU(0.2)],
    "sigmoid": [dl.Sigmoid()],
    "tanh": [dl.Tanh()],
    "max-pool": [dl.MaxPool2d(3, 2, 1)],
    "max-pool, dilated": [dl.MaxPool2d((2, 3), 1, (0, 1), dilation=2)],
    "max-pool, rounded up": [dl.MaxPool2d(2, 2, ceil_mode=True)],
    "max-pool, rounded up to nothing": [dl.MaxPool2d(2, 3, 1, ceil_mode=True)],
    "average": [dl.AvgPool2d(2)],
    "average, padding counted": [dl.AvgPool2d(3, 2, 1)],
    "average, padding not counted": [dl.AvgPool2d(3, 2, 1, count_include_pad=False)],
    "average, padding counted, rounded up": [dl.AvgPool2d(3, 3, 1, ceil_mode=True)],
    "gelu": [dl.GELU()],
    "gelu by tanh": [dl.GELU("tanh")],
    "average, rounded up": [dl.AvgPool2d(2, ceil_mode=True, count_include_pad=False)],
    "adaptive, one": [dl.AdaptiveAvgPool2d(1)],
    "adaptive, windows": [dl.AdaptiveAvgPool2d((3, 1))],
    "adaptive, bins": [dl.AdaptiveAvgPool2d((4, 3))],
    "adaptive, larger": [dl.AdaptiveAvgPool2d((11, 8))],
    "adaptive, the same": [dl.AdaptiveAvgPool2d((9, 7)), dl.ReLU()],
    "batch norm": [dl.BatchNorm2d(eps=1e-3, momentum=0.3)],
    "lrn": [dl.LocalResponseNorm(3, 0.1, 0.5, 2.0)],
    "dropout": [dl.Dropout(0.3)],
    "normalize": [dl.Normalize((0.1, 0.2, 0.3, 0.4), (2.0, 3.0, 4.0, 5.0))],
    "normalize by one": [dl.Normalize(0.25, 3.0)],
    "flat": [
        dl.Flatten(),
        dl.LeakyReLU(0.5),
        dl.Dropout(),
        dl.Linear(252),
        dl.Linear(3, bias=False),
    ],
    "normalized when flat": [dl.Flatten(), dl.Normalize(tuple(np.arange(252.0))), dl.Linear(3)],
}
"""On images of 9x7 with 4 channels; what is exported and read back to the bit."""


def chain(layers: list[dl.Layer]) -> dl.Network:
    x = dl.Input((9, 7, 4))
    first = dl.Conv2d(4, 3, padding=1)(x, name="first")
    return dl.Network(x, dl.Sequential(*layers)(first, name="layers"))


@pytest.mark.parametrize("case", LAYERS)
def test_layers(case: str, tmp_path: Path) -> None:
    net = chain(LAYERS[case])
    step, expected = compared(net, tmp_path / "m.onnx")
    read_back(step, tmp_path / "m.onnx", expected, made_images(net.image))


@pytest.mark.parametrize("case", ["gelu", "gelu by tanh"])
def test_gelu_is_an_operator_since_opset_20(case: str, tmp_path: Path) -> None:
    net = chain(LAYERS[case])
    step, expected = compared(net, tmp_path / "m.onnx", opset=20)
    read_back(step, tmp_path / "m.onnx", expected, made_images(net.image))


NUMBERS = [0.1, 0.01, 0.3, 1e-5, 1 / 3, 2 / 3, 0.1234567891, 1e-9, 5e-324, float(np.float32(0.1))]
"""Short decimals, what float32 rounds, and what it cannot tell from 0 or from 1."""

ARGUMENTS: dict[str, tuple[Callable[[float], dl.Layer], tuple[str, ...]]] = {
    "slope": (dl.LeakyReLU, ("slope",)),
    "norm": (lambda v: dl.BatchNorm2d(eps=v, momentum=v), ("eps", "momentum")),
    "lrn": (lambda v: dl.LocalResponseNorm(3, v, v, v), ("alpha", "beta", "k")),
    "dropout": (dl.Dropout, ("p",)),
}


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_come_back_to_the_bit(case: str, value: float, tmp_path: Path) -> None:
    """As a runtime reads them where another program wrote the attribute, exactly where minidl did,
    unless somebody has changed it since."""
    make, names = ARGUMENTS[case]
    layer = make(value)
    net = chain([layer])
    step = dl.compile(net, 2, loss=dl.MSE(), optimizer=dl.SGD(momentum=0))
    export_onnx(net, step, tmp_path / "m.onnx")
    loaded = onnx.load(tmp_path / "m.onnx")
    if np.float32(value) > 0:
        x = made_images(net.image)
        again = read_back(step, tmp_path / "m.onnx", step.predict(x), x)
        found = next(n.layer for n in again.nodes if isinstance(n.layer, type(layer)))
        assert [getattr(found, name) for name in names] == [value] * len(names)
    del loaded.metadata_props[:]
    onnx.save(loaded, tmp_path / "plain.onnx")
    if case == "slope" and np.float32(value) == 0:
        with pytest.raises(ArgumentError, match="slope must be a finite number and positive"):
            import_onnx(tmp_path / "plain.onnx")
        return
    plain, _ = import_onnx(tmp_path / "plain.onnx")
    found = next(n.layer for n in plain.nodes if isinstance(n.layer, type(layer)))
    for name in names:
        read = getattr(found, name)
        written, attribute = (1 - v if name == "momentum" else v for v in (read, value))
        assert np.float32(written) == np.float32(attribute)
        assert len(repr(read)) <= len(repr(value)) or name == "momentum"


def test_an_attribute_that_was_changed_holds(tmp_path: Path) -> None:
    net = chain([dl.LeakyReLU(1 / 3)])
    export_onnx(net, dl.compile(net, 2, loss=dl.MSE()), tmp_path / "m.onnx")
    loaded = onnx.load(tmp_path / "m.onnx")
    (changed,) = (n for n in loaded.graph.node if n.op_type == "LeakyRelu")
    changed.attribute[0].f = 0.25
    onnx.save(loaded, tmp_path / "m.onnx")
    net, _ = import_onnx(tmp_path / "m.onnx")
    assert [n.layer.slope for n in net.nodes if isinstance(n.layer, dl.LeakyReLU)] == [0.25]


def test_a_slope_is_the_runtimes(tmp_path: Path) -> None:
    """Bit for bit on the same inputs."""
    x = dl.Input((9, 7, 4))
    net = dl.Network(x, dl.LeakyReLU(1 / 3)(x))
    export_onnx(net, {}, tmp_path / "m.onnx")
    step = dl.compile(import_onnx(tmp_path / "m.onnx")[0], 2, loss=dl.MSE())
    images = made_images(net.image)
    found = by_onnxruntime(tmp_path / "m.onnx", {"input": channels_first(images)})
    np.testing.assert_array_equal(found, channels_first(step.predict(images)))


def exported_by(mark: str, folded: bool, path: Path) -> None:
    """Two convolutions, as an exporter of PyTorch 2.14 leaves them; one has had a BatchNorm."""
    x = dl.Input((9, 7, 4))
    y = dl.Conv2d(4, 3)(dl.Conv2d(5, 3)(x, name="first"), name="second")
    net = dl.Network(x, y)
    export_onnx(net, dl.compile(net, 2, loss=dl.MSE()), path)
    loaded = onnx.load(path)
    if folded and mark == "numbers":
        for tensor, given in zip(loaded.graph.initializer[:2], (28, 29), strict=True):
            tensor.name = f"onnx::Conv_{given}"
        loaded.graph.node[0].input[1:] = ["onnx::Conv_28", "onnx::Conv_29"]
    elif mark == "rules":
        rules = ["FuseBatchNormIntoConv"] * folded + ["RemoveOptionalBiasFromConv"]
        said = loaded.graph.node[0].metadata_props.add()
        said.key, said.value = "pkg.onnxscript.rewriter.rule_name", ", ".join(rules)
    onnx.save(loaded, path)


@pytest.mark.parametrize("mark", ["numbers", "rules"])
def test_a_batch_norm_that_was_folded_is_said(mark: str, tmp_path: Path) -> None:
    exported_by(mark, True, tmp_path / "m.onnx")
    with pytest.warns(
        UserWarning, match=r"m\.onnx: .*folded a BatchN.* of first: .*PRESERVE"
    ) as said:
        import_onnx(tmp_path / "m.onnx")
    assert len(said) == 1
    assert said[0].filename == __file__
    exported_by(mark, False, tmp_path / "m.onnx")
    import_onnx(tmp_path / "m.onnx")  # says nothing: a warning is an error here


def test_a_layer_used_twice_shares_its_weights(tmp_path: Path) -> None:
    x, shared = dl.Input((6, 5, 4)), dl.Conv2d(4, 3, padding=1)
    y = dl.Add()(shared(x, name="a"), shared(dl.ReLU()(x), name="b"), x, name="sum")
    net = dl.Network(x, dl.Linear(2)(dl.Flatten()(dl.Concat()(y, x)), name="fc"))
    step, expected = compared(net, tmp_path / "m.onnx")
    assert set(step.state_dict()) == {"a.weight", "a.bias", "fc.weight", "fc.bias"}
    read_back(step, tmp_path / "m.onnx", expected, made_images(net.image))


def test_layers_of_one_name(tmp_path: Path) -> None:
    """onnxruntime refuses two nodes of one name."""
    x, conv = dl.Input((4, 5, 2)), dl.Conv2d(2, 1)
    y = dl.Add()(dl.ReLU()(x, name="a"), conv(conv(x, name="a"), name="a"), name="a")
    net = dl.Network(x, dl.Linear(3)(dl.Flatten()(y), name="fc"))
    step, expected = compared(net, tmp_path / "m.onnx")
    read_back(step, tmp_path / "m.onnx", expected, made_images(net.image))


def test_several_inputs(tmp_path: Path) -> None:
    a, b = dl.Input((4, 3, 2)), dl.Input(5)
    y = dl.Concat()(dl.Linear(3)(dl.Flatten()(a), name="left"), dl.Linear(3)(b, name="right"))
    net = dl.Network((a, b), dl.Linear(2)(y, name="fc"))
    step = dl.compile(net, 2)
    export_onnx(net, step, tmp_path / "m.onnx")
    x = made_images((4, 3, 2)), made_images((5,))
    given = {"input": channels_first(x[0]), "input1": x[1]}
    close(by_onnxruntime(tmp_path / "m.onnx", given), step.predict(*x))
    other, state = import_onnx(tmp_path / "m.onnx")
    again = dl.compile(other, 2)
    again.load_state_dict(state)
    np.testing.assert_array_equal(again.predict(*x), step.predict(*x))


def test_bytes_in_channels_last_and_probabilities(tmp_path: Path) -> None:
    image = (6, 5, 3)
    x = dl.Input(image, dtype="uint8")
    y = dl.Normalize((120.0, 110.0, 100.0), 60.0)(x)
    net = dl.Network(x, dl.Linear(4)(dl.Flatten()(dl.Conv2d(4, 3)(y)), name="fc"))
    step = dl.compile(net, 2)
    bytes_of = np.random.default_rng(0).integers(0, 256, (3, *image)).astype(np.uint8)
    export_onnx(net, step, tmp_path / "m.onnx", channels_last=True)
    close(by_onnxruntime(tmp_path / "m.onnx", {"input": bytes_of}), step.predict(bytes_of))
    read_back(step, tmp_path / "m.onnx", step.predict(bytes_of), bytes_of)
    export_onnx(net, step, tmp_path / "p.onnx", probabilities=True)
    found = by_onnxruntime(tmp_path / "p.onnx", {"input": channels_first(bytes_of)})
    exponentials = np.exp(step.predict(bytes_of))
    close(found, exponentials / exponentials.sum(1, keepdims=True))


def test_images_that_come_out(tmp_path: Path) -> None:
    net = chain([dl.ReLU()])
    step = dl.compile(net, 2, loss=dl.MSE())
    export_onnx(net, step, tmp_path / "m.onnx", channels_last=True)
    x = made_images(net.image)
    close(by_onnxruntime(tmp_path / "m.onnx", {"input": x}), step.predict(x))


def test_opset_and_state_dict(tmp_path: Path) -> None:
    net = dl.models.lenet()
    state = dl.compile(net, 2).state_dict()
    for opset in (17, 18, 21):
        export_onnx(net, state, tmp_path / "m.onnx", opset=opset)
        assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
        by_onnxruntime(tmp_path / "m.onnx", {"input": channels_first(made_images((32, 32, 1)))})
    assert os.listdir(tmp_path) == ["m.onnx"]


class Unknown(dl.ReLU):
    """A layer that nobody has told ONNX of."""


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    path, net = tmp_path / "m.onnx", dl.models.lenet()
    state = dl.compile(net, 2).state_dict()
    with pytest.raises(ArgumentError, match=r"opset must be a whole number in \[17"):
        export_onnx(net, state, path, opset=16)
    with pytest.raises(ArgumentError, match=r"missing 0\.bias; unknown none"):
        export_onnx(net, {n: a for n, a in state.items() if n != "0.bias"}, path)
    with pytest.raises(ShapeError, match=r"0\.bias: expected shape \(6,\), got \(7,\)"):
        export_onnx(net, state | {"0.bias": np.zeros(7)}, path)
    for layer, message in (
        (Unknown(), r"layer 'layers\.0', Unknown\(\): .*Conv2d"),
        (dl.LocalResponseNorm(4), "an even size"),
    ):
        odd = chain([layer])
        with pytest.raises(ArgumentError, match=message):
            export_onnx(odd, dl.compile(odd, 2, loss=dl.MSE()), path)
    assert not list(tmp_path.iterdir())


# -- photographs -----------------------------------------------------------------------------------


def photographs(size: int) -> Array:
    """Eight of ImageNet's, cropped and averaged down: no library but Pillow."""
    image = pytest.importorskip("PIL.Image")
    if "MINIDL_DATA" not in os.environ:
        pytest.skip("MINIDL_DATA is not set: the folder that has imagenet-sample")
    paths = sorted(Path(os.environ["MINIDL_DATA"]).glob("imagenet-sample/*/*.JPEG"))[:8]
    return np.stack([np.asarray(image.open(p).convert("RGB").resize((size, size))) for p in paths])


@pytest.mark.slow
def test_photographs(tmp_path: Path) -> None:
    pixels = photographs(96)
    x = dl.Input((96, 96, 3), dtype="uint8")
    body = dl.models.resnet18(10, (96, 96, 3))
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    net = dl.Network(x, body(dl.Normalize(mean, std)(x, name="normalize"), name=""))
    step = dl.compile(net, 8, optimizer=dl.SGD(lr=0.01))
    for _ in range(3):
        step(pixels, np.arange(8))
    export_onnx(net, step, tmp_path / "m.onnx", channels_last=True)
    found = by_onnxruntime(tmp_path / "m.onnx", {"input": pixels})
    close(found, step.predict(pixels))
    read_back(step, tmp_path / "m.onnx", step.predict(pixels), pixels)


# -- models of many layers -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: dl.Linear(2), dl.ReLU], ids=["linear", "relu"])
def test_twice_the_layers_are_twice_the_work(make: Callable[[], dl.Layer], tmp_path: Path) -> None:
    path, written, read = tmp_path / "m.onnx", [], []
    for count in (400, 800):
        node = x = dl.Input(2)
        for k in range(count):
            node = make()(node, name=f"layer{k}")
        net = dl.Network(x, node)
        names = {"weight": (2, 2), "bias": (2,)} if isinstance(make(), dl.Linear) else {}
        state = {
            f"layer{k}.{own}": np.ones(shape, np.float32)
            for k in range(count)
            for own, shape in names.items()
        }
        written.append(calls(lambda net=net, state=state: export_onnx(net, state, path)))  # type: ignore[misc]
        read.append(calls(lambda: import_onnx(path)))
    assert written[1] < 2.1 * written[0]
    assert read[1] < 2.1 * read[0]
