"""Weights of other programs, and ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import minidl as dl
from minidl.interop import export_onnx, import_onnx, load_weights, save_weights
from tests.docs.provoked.cases import compiled, network, put, raises
from tests.interop.pickled import archive, pickle_of
from tests.interop.pickled import name as word_of


def weights(step: dl.Step, **renamed: str) -> str:
    """The file `weights.safetensors`, some layers renamed."""
    state = step.state_dict().items()
    arrays = {f"{renamed.get(name[0], name[0])}{name[1:]}": a for name, a in state}
    save_weights("weights.safetensors", arrays)
    return "weights.safetensors"


@raises("### The weights have other names")
def other_names(_: pytest.MonkeyPatch) -> object:
    return load_weights(compiled(), weights(compiled(), **{"3": "fc"}))


@raises("### The weights have other names")
def no_name(_: pytest.MonkeyPatch) -> object:
    path = weights(compiled(), **{"0": "conv", "3": "fc"})
    return load_weights(compiled(), path, strict=False)


@raises("### The weights have another number of classes")
def other_classes(_: pytest.MonkeyPatch) -> object:
    return load_weights(compiled(classes=3), weights(compiled()))


@raises("### The weights have other shapes")
def other_shapes(_: pytest.MonkeyPatch) -> object:
    wide = dl.Sequential(
        dl.Input((8, 8, 3)), dl.Conv2d(6, 3), dl.ReLU(), dl.Flatten(), dl.Linear(10)
    )
    return load_weights(dl.compile(wide, batch=4), weights(compiled()), new_head=True)


@raises("### The weights have other shapes")
def state_dict(_: pytest.MonkeyPatch) -> object:
    return compiled(classes=3).load_state_dict(compiled().state_dict())


@raises("### An old .pth, or one with more than weights")
def legacy(_: pytest.MonkeyPatch) -> object:
    put("weights.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    return load_weights(compiled(), "weights.pth")


@raises("### An old .pth, or one with more than weights")
def whole_model(_: pytest.MonkeyPatch) -> object:
    put("weights.pth", archive(pickle_of(word_of("torchvision.models.vgg", "VGG"))))
    return load_weights(compiled(), "weights.pth")


@raises("### An old .pth, or one with more than weights")
def script(_: pytest.MonkeyPatch) -> object:
    put("weights.pth", archive(pickle_of(b"}"), **{"archive/constants.pkl": b""}))
    return load_weights(compiled(), "weights.pth")


@raises("### An old .pth, or one with more than weights")
def bare_pickle(_: pytest.MonkeyPatch) -> object:
    put("weights.pth", b"\x80\x04N.")
    return load_weights(compiled(), "weights.pth")


@raises("### A file of weights is damaged")
def no_weights(_: pytest.MonkeyPatch) -> object:
    put("weights.pth", b"<html>404 not found</html>")
    return load_weights(compiled(), "weights.pth")


@raises("### A file of weights is damaged")
def cut_short(_: pytest.MonkeyPatch) -> object:
    path = weights(compiled())
    put(path, Path(path).read_bytes()[:-100])
    return load_weights(compiled(), path)


@raises("### A file of weights is damaged")
def cut_short_pth(_: pytest.MonkeyPatch) -> object:
    put("weights.pth", archive(pickle_of(b"}"))[:-30])
    return load_weights(compiled(), "weights.pth")


def model(node: Any, batch: object = "n", height: object = 6, **constants: np.ndarray) -> str:
    """The file `model.onnx` with one node, from `x` to `y`."""
    tensors = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    given = helper.make_tensor_value_info("x", 1, [batch, 2, height, 6])
    made = helper.make_tensor_value_info("y", 1, None)
    graph = helper.make_graph([node], "graph", [given], [made], tensors)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    put("model.onnx", whole.SerializeToString())
    return "model.onnx"


def conv() -> Any:
    return helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")


W = np.ones((3, 2, 2, 2), np.float32)


@raises("### ONNX has an operator that minidl has not")
def unknown_operator(_: pytest.MonkeyPatch) -> object:
    return import_onnx(model(helper.make_node("Softplus", ["x"], ["y"], name="act1")))


@raises("### ONNX has an operator that minidl has not")
def even_lrn(_: pytest.MonkeyPatch) -> object:
    node = helper.make_node("LRN", ["x"], ["y"], name="norm1", size=4)
    return import_onnx(model(node))


@raises("### An ONNX model without fixed sizes")
def free_size(_: pytest.MonkeyPatch) -> object:
    return import_onnx(model(conv(), height="height", w=W))


@raises("### An ONNX model whose weights lie elsewhere")
def external(_: pytest.MonkeyPatch) -> object:
    model(conv(), w=W)
    loaded = onnx.load("model.onnx")
    tensor = loaded.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="model.data")
    put("model.onnx", loaded.SerializeToString())
    return import_onnx("model.onnx")


@raises("### A file that is no ONNX model")
def no_model(_: pytest.MonkeyPatch) -> object:
    put("model.onnx", b"<html>404 not found</html>")
    return import_onnx("model.onnx")


@raises("### A layer that ONNX has not")
def even_windows(_: pytest.MonkeyPatch) -> object:
    net = dl.Sequential(
        dl.Input((8, 8, 3)), dl.Conv2d(4, 3), dl.LocalResponseNorm(4), dl.Flatten(), dl.Linear(10)
    )
    return export_onnx(net, dl.compile(net, batch=4), "model.onnx")


class Twice(dl.Layer):
    """A layer of one's own that changes nothing, since it is not run."""

    order = "same"

    def output_shape(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]

    def lower(self, site: Any, *inputs: Any) -> Any:
        return inputs[0]

    def __repr__(self) -> str:
        return "Twice()"


@raises("### A layer that ONNX has not")
def own_layer(_: pytest.MonkeyPatch) -> object:
    net = dl.Sequential(dl.Input((8, 8, 3)), dl.Flatten(), Twice(), dl.Linear(10))
    return export_onnx(net, dl.compile(net, batch=4), "model.onnx")


@raises("### An export with another network's weights")
def another_network(_: pytest.MonkeyPatch) -> object:
    return export_onnx(dl.models.lenet(), compiled(), "model.onnx")


@raises("### An export with another network's weights")
def another_head(_: pytest.MonkeyPatch) -> object:
    return export_onnx(network(classes=3), compiled(), "model.onnx")
