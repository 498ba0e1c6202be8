"""A network and its weights as an ONNX model, for inference anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minidl.files.atomic import write_atomically
from minidl.interop.names import listed
from minidl.interop.onnx_graph import Graph, Place, Value
from minidl.interop.onnx_proto import ARGUMENTS, BATCHES, NEWEST_OPSET, onnx
from minidl.interop.onnx_table import translate
from minidl.interop.weights import torch_shape
from minidl.ir import ArgumentError, Array, Lowering, Shape, ShapeError, Tensor
from minidl.ir.arrays import ARRAYS
from minidl.ir.calls import called
from minidl.ir.graph import Variable
from minidl.ir.readers import SHAPE, either, instance, optional, whole
from minidl.layers.base import Layer
from minidl.layers.network import Network, as_network, walk
from minidl.runtime.step import Step

LARGEST_MODEL = 2**31 - 1
"""Bytes: protobuf's limit; minidl writes no weights outside of the file."""


@called(
    readers={
        "weights": either(instance(Step), ARRAYS),
        "opset": whole(17, NEWEST_OPSET),
        "image": optional(SHAPE),
    }
)
def export_onnx(
    network: Layer,
    weights: Step | Mapping[str, Array],
    path: str | Path,
    *,
    opset: int = 17,
    image: Shape | None = None,
    channels_last: bool = False,
    probabilities: bool = False,
) -> None:
    """Write `network` with the weights of a step, or of a state dict, as an ONNX model.

    Input `input`, (batch, C, H, W) float32, or (batch, H, W, C) with `channels_last`; bytes where
    the network's Input has them. Output `output`, what `Step.predict` returns, NCHW where it is
    images; with `probabilities` the softmax of it. A UserWarning says it where it is a flattened
    image, which stays in the order (H, W, C). The batch is free. Initializers have the state dict's
    names. The model is checked, its shapes inferred, and written whole or not at all.
    ArgumentError or ShapeError name the layer or the tensor that does not fit.
    """
    net = as_network(network, image)
    state = weights.state_dict() if isinstance(weights, Step) else weights
    g = Graph(_variables(net, state), state, opset)
    walked = walk(net)
    values = {tensor: _input(g, tensor, channels_last) for tensor in walked.inputs}
    for call in walked.calls:
        name = call.place if call.name else f"layer{len(g.nodes)}"
        at = Place(call.layer, name, call.output.shape)
        value = translate(g, at, [values[t] for t in call.inputs])
        features = walked.lowering.features_of(call.output)
        values[call.output] = replace(value, features=features)
    last = _output(g, values[walked.output], channels_last, probabilities)
    write_atomically(path, _checked(g, walked.inputs, last, net.name, channels_last))
    walked.warn_of_order()


def _variables(net: Network, state: Mapping[str, Array]) -> dict[tuple[object, str], Variable]:
    """The network's variables, once `state` has exactly these, in these shapes."""
    lowering = Lowering(1, training=False)
    net.apply(lowering, "", *walk(net).inputs)
    wanted = {v.name: torch_shape(v.tensor.shape) for v in lowering.variables.values()}
    missing, unknown = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unknown:
        raise ArgumentError(
            f"the weights are another network's: missing {listed(sorted(missing))}; unknown "
            f"{listed(sorted(unknown))}"
        )
    for name, shape in wanted.items():
        if np.shape(state[name]) != shape:
            raise ShapeError(f"{name}: expected shape {shape}, got {np.shape(state[name])}")
    return lowering.variables


def _input(g: Graph, tensor: Tensor, channels_last: bool) -> Value:
    """The input as NCHW float32."""
    name, at = g.fresh(tensor.name), Place(None, tensor.name, tensor.shape)
    if tensor.dtype != "float32":
        name = g.node("Cast", [name], at, "Cast", to=onnx().TensorProto.FLOAT)
    if channels_last and len(tensor.shape) == 4:
        name = g.node("Transpose", [name], at, "Transpose", perm=[0, 3, 1, 2])
    return Value(name, tensor.shape)


def _output(g: Graph, value: Value, channels_last: bool, probabilities: bool) -> Value:
    at = Place(None, "output", value.shape)
    name = g.minidl_order(value, at)
    if probabilities:
        name = g.node("Softmax", [name], at, "Softmax", axis=1)
    if channels_last and len(value.shape) == 4:
        name = g.node("Transpose", [name], at, "Transpose", perm=[0, 2, 3, 1])
    if not any(name in node.output for node in g.nodes):
        name = g.node("Identity", [name], at, "Identity")
    g.rename(name, free := g.fresh("output"))
    return Value(free, value.shape)


def _checked(g: Graph, inputs: list[Tensor], last: Value, name: str, channels_last: bool) -> bytes:
    """The model's bytes, once ONNX's own checks are passed."""
    module = onnx()
    helper = module.helper

    def described(name: str, shape: Shape, dtype: str = "float32") -> Any:
        dims = shape if channels_last or len(shape) != 4 else (shape[0], shape[3], *shape[1:3])
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, ["batch", *dims[1:]])

    graph = helper.make_graph(
        g.nodes,
        name,
        [described(t.name, t.shape, t.dtype) for t in inputs],
        [described(last.name, last.shape)],
        list(g.initializers.values()),
    )
    opset = [helper.make_opsetid("", g.opset)]
    ir = helper.find_min_ir_version_for(opset)
    model = helper.make_model(graph, opset_imports=opset, ir_version=ir, producer_name="minidl")
    more = {BATCHES: g.batches, ARGUMENTS: g.arguments.noted}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in more.items() if value})
    if model.ByteSize() > LARGEST_MODEL:
        raise ArgumentError(f"the model has {model.ByteSize():,} bytes, ONNX holds 2 GiB in a file")
    data: bytes = model.SerializeToString(deterministic=True)
    module.checker.check_model(data, full_check=True)
    return data
