"""An ONNX model being read: its nodes, constants and attributes, all checked.

No file but the given one is opened: tensors in other files are refused, and onnx's own loader and
checker, which follow them, are not used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidl.files.opening import read_bytes
from minidl.files.words import is_shape, shown
from minidl.interop.onnx_numbers import SAME, Arguments, Number
from minidl.interop.onnx_proto import NEWEST_OPSET, OLDEST_OPSET, onnx
from minidl.interop.widening import widened
from minidl.ir import ArgumentError, Array, Shape
from minidl.ir.bfloat16 import from_bfloat16
from minidl.ir.features import Features
from minidl.layers.base import Node

LARGEST_FILE = 2**31 - 1
MOST_NODES = 20_000

SHARED, MOST_DECODED = 64, 64 * 2**20
"""How often a file's bytes may be read as constants, on average: what recurs is unrolled; and so
many bytes in any case."""

TYPED = {
    "FLOAT": ("<f4", "float_data"), "DOUBLE": ("<f8", "double_data"),
    "INT64": ("<i8", "int64_data"), "INT32": ("<i4", "int32_data"),
    "FLOAT16": ("<f2", "int32_data"), "BFLOAT16": ("<u2", "int32_data"),
}  # fmt: skip
"""Types of tensors that are read: NumPy's, and where the elements are, if not in `raw_data`."""

KINDS = {"INT": "i", "FLOAT": "f", "STRING": "s", "INTS": "ints", "FLOATS": "floats", "TENSOR": "t"}


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph, as the output of a layer."""

    node: Node
    shape: Shape
    """minidl's, with a batch of 1: (1, H, W, C) or (1, features)."""
    features: Features = ()
    """The order in which minidl has its features; here it is PyTorch's."""


@dataclass(frozen=True, slots=True)
class Part:
    """What nodes have made of a value that no layer gives by itself: see `onnx_parts`."""

    value: Value
    what: str
    """In words, for who cannot read it."""


@dataclass
class Model:
    """What is known so far; `nodes` are ONNX's, in order."""

    nodes: list[Any]
    constants: dict[str, Any]
    """Tensors by name, not yet decoded."""
    size: int = 0
    """Bytes of the file."""
    opset: int = NEWEST_OPSET
    values: dict[str, Value] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    arguments: Arguments = field(default_factory=Arguments)
    layers: dict[tuple[Any, ...], tuple[Any, str, Features]] = field(default_factory=dict)
    """Layers with weights, their names and the order of their first input's features, by what makes
    them one layer: their initializers."""
    taken: set[str] = field(default_factory=set)
    """The names of these layers."""
    folded: list[str] = field(default_factory=list)
    """Names of convolutions into which an exporter has folded a BatchNormalization."""
    said: list[str] = field(default_factory=list)
    """What the caller is told: where the network is not, to the word, what the file says."""
    decoded: int = 0
    """Bytes of constants so far, each use counted."""
    state: dict[str, Array] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    """Positions of nodes that were read together with an earlier one."""
    readers: dict[str, list[int]] = field(default_factory=dict)
    """Positions of the nodes that read a value, once for each input that it is."""

    def __post_init__(self) -> None:
        for position, node in enumerate(self.nodes):
            for name in node.input:
                self.readers.setdefault(name, []).append(position)

    # -- of one node -----------------------------------------------------------------------------

    def value(self, node: Any, index: int = 0) -> Value:
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.values:
            what = "a constant" if name in self.constants else "unknown"
            what = self.parts[name].what if name in self.parts else what
            raise refused(node, f"its input {index}, {shown(name)}, is {what}: a layer is expected")
        return self.values[name]

    def either(self, node: Any, index: int = 0) -> Value | Part:
        """An input that may be a part."""
        name = node.input[index] if index < len(node.input) else ""
        return self.parts[name] if name in self.parts else self.value(node, index)

    def image(self, node: Any) -> Value:
        """The first input, which must be an image."""
        x = self.value(node)
        if len(x.shape) != 4:
            raise refused(node, "its input is no image (N, C, H, W)")
        return x

    def constant(self, node: Any, index: int) -> Array | None:
        """Input `index` as an array; None where it is not given."""
        name = node.input[index] if index < len(node.input) else ""
        if not name:
            return None
        if name not in self.constants:
            raise refused(node, f"its input {index}, {shown(name)}, must be a constant")
        array = decoded(self.constants[name])
        self.decoded += array.nbytes
        if self.decoded > MOST_DECODED + SHARED * self.size:
            raise refused(node, f"the file's constants are read more than {SHARED} times each")
        return array

    def required(self, node: Any, index: int) -> Array:
        array = self.constant(node, index)
        if array is None:
            raise refused(node, f"its input {index} is missing")
        return array

    def attributes(self, node: Any, **defaults: Any) -> dict[str, Any]:
        """The node's attributes over the defaults, of the same types; no others may be there."""
        found = dict(defaults)
        kinds = onnx().AttributeProto.AttributeType
        for attribute in node.attribute:
            known = attribute.type in kinds.values()
            kind = kinds.Name(attribute.type) if known else "unknown"
            if attribute.name not in defaults or kind not in KINDS:
                raise refused(node, f"attribute {shown(attribute.name)} of type {kind}")
            value = getattr(attribute, KINDS[kind])
            value = list(value) if kind in ("INTS", "FLOATS") else value
            usual = defaults[attribute.name]
            if usual is not None and type(value) is not type(usual):
                raise refused(node, f"attribute {shown(attribute.name)} of type {kind}")
            found[attribute.name] = value
        return found

    def number(self, node: Any, own: str, attribute: float, number: Number = SAME) -> float:
        """A layer's argument, which an attribute says."""
        return self.arguments.read(node.name, own, attribute, number)

    def only_reader(self, name: str) -> tuple[int, Any] | None:
        """Position and node of the only reader of a value, if there is one."""
        found = self.readers.get(name, [])
        return (found[0], self.nodes[found[0]]) if len(found) == 1 else None


def refused(node: Any, why: str, hint: str = "") -> ArgumentError:
    name = node.name or (node.output[0] if node.output else "")
    return ArgumentError(f"node {shown(name)}, {shown(node.op_type)}: {why}: not supported", hint)


def parsed(path: str | Path) -> Any:
    """The model in the file, once it is one that can be read: a single graph of usual operators."""
    module = onnx()
    size = os.path.getsize(path)
    if size > LARGEST_FILE:
        raise ArgumentError(f"it has {size:,} bytes: ONNX holds at most 2 GiB in a file")
    try:
        model = module.ModelProto.FromString(read_bytes(path))
    except Exception as error:
        if type(error).__name__ != "DecodeError":
            raise
        raise ArgumentError("it is no ONNX model, or damaged") from None
    if not all(isinstance(word, str) for word in _words(model)):
        raise ArgumentError("it has names that are no UTF-8: it is damaged")
    _require_plain(model)
    return model


def _words(model: Any) -> Iterator[Any]:
    """Every name that is used: protobuf gives bytes where it is no UTF-8."""
    graph = model.graph
    yield graph.name
    for named in (*graph.initializer, *graph.input, *graph.output):
        yield named.name
    for pair in model.metadata_props:
        yield from (pair.key, pair.value)
    yield from (opset.domain for opset in model.opset_import)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (word for a in node.attribute for word in (a.name, a.ref_attr_name, a.t.name))
        yield from (word for pair in node.metadata_props for word in (pair.key, pair.value))


def opset_of(model: Any) -> int:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    return int(versions.get("", versions.get("ai.onnx", 0)))


def _require_plain(model: Any) -> None:
    version = opset_of(model)
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise ArgumentError(
            f"it has opset {version}: {OLDEST_OPSET} to {NEWEST_OPSET} are read", "export it again"
        )
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise ArgumentError("it has functions, training or sparse tensors: not supported")
    if len(model.graph.node) > MOST_NODES:
        raise ArgumentError(f"it has {len(model.graph.node):,} nodes: {MOST_NODES:,} are allowed")
    made = {tensor.name for tensor in model.graph.initializer}
    made |= {given.name for given in model.graph.input}
    for node in model.graph.node:
        if not node.output or not made.isdisjoint(node.output):
            raise refused(node, "no output, or one that is there already")
        made.update(filter(None, node.output))
        if node.domain not in ("", "ai.onnx"):
            raise refused(node, f"domain {shown(node.domain)}")
        if any(a.HasField("g") or a.graphs or a.ref_attr_name for a in node.attribute):
            raise refused(node, "a graph inside of a node")
        for attribute in node.attribute:
            _require_inside(attribute.t)
            for tensor in attribute.tensors:
                _require_inside(tensor)
    for tensor in model.graph.initializer:
        _require_inside(tensor)


def _require_inside(tensor: Any) -> None:
    if tensor.external_data or tensor.data_location == onnx().TensorProto.EXTERNAL:
        raise ArgumentError(
            f"tensor {shown(tensor.name)} is in another file, which is not opened",
            "save the model with its weights inside, onnx.save(model, path, "
            "save_as_external_data=False)",
        )


def decoded(tensor: Any) -> Array:
    """A tensor as an array, 16-bit floats as float32; it must have as many elements as it says."""
    module = onnx()
    kinds = module.TensorProto.DataType
    kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else "unknown"
    name, shape = shown(tensor.name), tuple(tensor.dims)
    if kind not in TYPED:
        raise ArgumentError(f"tensor {name} is {kind}: minidl reads {', '.join(TYPED)}")
    if tensor.HasField("segment") or not is_shape(shape, 8):
        raise ArgumentError(f"tensor {name} is in segments, or its shape is none")
    dtype, where = np.dtype(TYPED[kind][0]), TYPED[kind][1]
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
    elif kind in ("FLOAT16", "BFLOAT16"):
        raw = np.asarray(getattr(tensor, where), np.uint32).astype("<u2").tobytes()
    else:
        raw = np.asarray(getattr(tensor, where), dtype).tobytes()
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ArgumentError(
            f"tensor {name}: {kind} of shape {shape} has "
            f"{math.prod(shape) * dtype.itemsize:,} bytes, the file {len(raw):,}"
        )
    array: Array = np.ndarray(shape, dtype, raw).astype(dtype.newbyteorder("="))
    if kind == "BFLOAT16":
        return from_bfloat16(array)
    return array.astype(np.float32) if kind == "DOUBLE" else widened(array)
