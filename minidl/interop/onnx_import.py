"""An ONNX model as a network of minidl's layers and its state dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minidl.files.fields import parse_json, take
from minidl.files.words import shown
from minidl.interop.names import listed
from minidl.interop.onnx_parts import Ending
from minidl.interop.onnx_proto import ARGUMENTS, BATCHES, onnx
from minidl.interop.onnx_reader import Model, Part, Value, opset_of, parsed, refused
from minidl.interop.onnx_table import OPERATORS
from minidl.ir import ArgumentError, Array, Shape, ShapeError
from minidl.ir.calls import called
from minidl.ir.features import described, features_of, is_plain
from minidl.ir.warned import warn_caller
from minidl.layers.base import Input
from minidl.layers.network import Network
from minidl.runtime.finite import warn_not_finite

TO_NCHW = [0, 3, 1, 2]
"""Transpose's axes from NHWC."""

KEEP = (
    "torch.onnx.export(..., dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, "
    "do_constant_folding=False) of the model in eval mode"
)
"""What exports BatchNorm2d as it is; as of PyTorch 2.14."""


@called()
def import_onnx(path: str | Path) -> tuple[Network, dict[str, Array]]:
    """The network that an ONNX model describes, and its weights for `Step.load_state_dict`.

    Inputs have a fixed size but for the batch: (batch, C, H, W) or (batch, features), or, behind a
    Transpose, (batch, H, W, C). Whatever `export_onnx` writes is read. A last Softmax is left out,
    as the loss has it, and a UserWarning says so. ArgumentError names the node that is no layer of
    minidl, and says which operators are; also where weights are in another file, which is never
    opened. Weights are float32, by their initializers' names where these end in `.weight`. A
    UserWarning says it where PyTorch's exporter has folded BatchNorm into convolutions.
    """
    try:
        network, m = _network(parsed(path))
    except (ArgumentError, ShapeError) as error:
        raise error.at(path) from None
    warn_not_finite(path, m.state)
    for said in m.said:
        warn_caller(f"{path}: {said}")
    if m.folded:
        warn_caller(
            f"{path}: the exporter has folded a BatchNormalization into the weights of "
            f"{listed(m.folded, 3)}: the network predicts the same without BatchNorm2d, but trains "
            f"otherwise; {KEEP} keeps it",
        )
    return network, m.state


def _network(model: Any) -> tuple[Network, Model]:
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    m = Model(list(graph.node), constants, model.ByteSize(), opset_of(model))
    words = {p.key: p.value for p in model.metadata_props}
    m.arguments.noted = _noted(words, ARGUMENTS, dict[str, dict[str, float]])
    inputs = [_input(m, given) for given in graph.input if given.name not in m.constants]
    for position, node in enumerate(m.nodes):
        if position not in m.done:
            _read(m, node)
    output = _output(m, [given.name for given in graph.output])
    _count_batches(m, _noted(words, BATCHES, dict[str, int]))
    name = graph.name or "network"
    return Network([i.node for i in inputs], output.node, name), m


def _output(m: Model, names: list[str]) -> Value:
    """The value that is the output; what form it had there is said, if minidl's is another."""
    found = m.values.get(names[0], m.parts.get(names[0])) if len(names) == 1 else None
    if found is None:
        raise ArgumentError(f"it has {len(names)} outputs that layers make: 1 is expected")
    if isinstance(found, Part) and not isinstance(found, Ending):
        raise ArgumentError(f"its output {shown(names[0])} is {found.what}")
    end = found if isinstance(found, Ending) else Ending(found, "")
    if end.softmax:
        m.said.append(
            f"its last {end.softmax} is left out, which dl.CrossEntropy has: the network's output "
            "is what it is of"
        )
    vector = len(end.value.shape) == 2
    if vector and not end.ordered and not is_plain(end.value.features):
        raise ArgumentError(
            f"its output is {described(end.value.features)}, (C, H, W) there, (H, W, C) in minidl",
            "export it without the Flatten",
        )
    return end.value


def _read(m: Model, node: Any) -> None:
    if node.op_type == "Constant":
        m.constants[node.output[0]] = _constant(m, node)
    elif node.op_type == "Identity" and node.input[:1] and node.input[0] in m.constants:
        m.constants[node.output[0]] = m.constants[node.input[0]]
    elif node.op_type in OPERATORS:
        made = OPERATORS[node.op_type](m, node)
        kept: dict[str, Any] = m.parts if isinstance(made, Part) else m.values
        kept[node.output[0]] = made
    else:
        raise refused(node, f"minidl reads {', '.join(sorted(OPERATORS))}")


def _constant(m: Model, node: Any) -> Any:
    value = m.attributes(node, value=None)["value"]
    if not isinstance(value, onnx().TensorProto):
        raise refused(node, "a constant that is no tensor")
    return value


def _input(m: Model, given: Any) -> Value:
    """An input as minidl has it, past a Cast and a Transpose to NCHW."""
    kind = given.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
    if len(shape) not in (2, 4) or min(shape[1:]) < 1 or max(shape) >= 2**31:
        raise ArgumentError(
            f"input {shown(given.name)} has shape {shape[:9]}, 0 for what is not fixed: (batch, "
            "C, H, W) or (batch, features) with fixed sizes is expected",
            "export it at one size",
        )
    name, dtype = _cast(m, given.name, kind.elem_type)
    nhwc = [shape[2], shape[3], shape[1]] if len(shape) == 4 else shape[1:]
    if len(shape) == 4 and (turned := _consumed(m, name, "Transpose", perm=TO_NCHW)):
        name, nhwc = turned, shape[1:]
    sample: Shape = tuple(nhwc)
    value = Value(Input(sample, dtype=dtype), (1, *sample), features_of(sample))
    m.values[name] = value
    return value


def _cast(m: Model, name: str, kind: int) -> tuple[str, str | None]:
    """The input's name behind a Cast to float32, and its dtype if that is another."""
    types = onnx().TensorProto
    if kind == types.FLOAT:
        return name, None
    behind = _consumed(m, name, "Cast", to=types.FLOAT)
    if kind != types.UINT8 or behind is None:
        raise ArgumentError(
            f"input {shown(name)} is no float32, and no uint8 that is cast to it", "export it so"
        )
    return behind, "uint8"


def _consumed(m: Model, name: str, op: str, **how: Any) -> str | None:
    """The output of the value's only reader, if it is that operator with these attributes; it is
    then read."""
    found = m.only_reader(name)
    if found is None or found[1].op_type != op or not found[1].output:
        return None
    defaults = {key: type(value)() for key, value in how.items()}
    if m.attributes(found[1], **defaults) != how:
        return None
    m.done.add(found[0])
    return str(found[1].output[0])


def _noted(words: dict[str, str], key: str, kind: Any) -> Any:
    """What minidl wrote into the model's metadata; empty where another program made it."""
    try:
        return take(kind, parse_json(words.get(key, "{}"), finite=True), "it")
    except ArgumentError as error:
        raise error.at(f"its metadata {key} is no JSON map of numbers") from None


def _count_batches(m: Model, counts: dict[str, int]) -> None:
    """BatchNorm2d's counters."""
    for name, count in counts.items():
        if name in m.state and m.state[name].shape == () and name.endswith("num_batches_tracked"):
            m.state[name] = np.array(count)
