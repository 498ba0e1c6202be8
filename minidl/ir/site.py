"""Lowering and Site: how a layer says, in ops and tensors, what its forward and gradients are."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from minidl.ir.errors import ArgumentError, ShapeError
from minidl.ir.features import (
    Features,
    FromTorch,
    ToTorch,
    features_of,
    is_plain,
    order_in_words,
)
from minidl.ir.graph import Array, Variable
from minidl.ir.how import Target, as_stated
from minidl.ir.op import Contract, Function, Op, Phase
from minidl.ir.tensor import PERSISTENT, Kind, Shape, Tensor


class Lowerable(Protocol):
    """What lowering needs of a layer."""

    couples_samples: ClassVar[bool]

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A layer at one place of the network; the tensors only stand for what is to come."""

    layer: Lowerable
    name: str
    place: str
    """The name, which no other place has."""
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass(frozen=True, slots=True)
class Trained:
    """A parameter, called `name` at `layer`, and what the optimizer takes as its gradient."""

    w: Tensor
    layer: str
    name: str
    gradient: Tensor


@dataclass
class Lowering:
    """One walk over a network that collects its ops: what all layers of the network share."""

    batch: int
    dtype: str = "float32"
    training: bool = True
    target: Target = as_stated
    """How the target runs an op, asked as each op is stated."""
    seed: int = 0
    slices: int = 1
    """Parts of the batch that the first layers run on one after the other."""
    sites: list[Site] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    variables: dict[tuple[object, str], Variable] = field(default_factory=dict)
    """By owner and the owner's own name for it: a layer used twice shares its parameters."""
    names: set[str] = field(default_factory=set)
    """Of all variables."""
    features: dict[Tensor, Features] = field(default_factory=dict)
    """In which order the features of a layer's output lie."""
    part: str = ""
    """Ends the names of tensors of one slice of the batch."""
    calls: list[Call] | None = None
    """A list: layers are noted there instead of being lowered."""
    accumulate: int = 1
    """Calls of the step that make one update."""
    places: Counter[str] = field(default_factory=Counter)
    """How often layers were lowered under each name."""
    streams: set[int] = field(default_factory=set)
    """Of random numbers, those in use: see `Site.random_stream`."""

    @property
    def master(self) -> str:
        """The dtype of weights, their gradients, statistics and sums: never below float32."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def features_of(self, t: Tensor) -> Features:
        """The order of a tensor's features, by its shape where no layer said it."""
        return self.features.get(t) or features_of(t.shape[1:])

    def input(self, name: str, shape: Shape, dtype: str) -> Tensor:
        tensor = Tensor(name, shape, dtype, "input")
        self.inputs.append(tensor)
        return tensor

    def note(self, layer: Lowerable, name: str, inputs: tuple[Tensor, ...], shape: Shape) -> Tensor:
        """Note a layer that is to be lowered later; a tensor that stands for its output."""
        output = Tensor(name, shape, self.dtype, "activation")
        if self.calls is not None:
            self.calls.append(Call(layer, name, self._place(name), inputs, output))
        return output

    def site(self, name: str, owner: object) -> Site:
        self.sites.append(Site(self, name, owner, prefix=name))
        return self.sites[-1]

    def layer_site(self, name: str, layer: Lowerable) -> Site:
        """A layer's own. The second place of a name is `name (2)`, so that nothing which goes by it
        takes the two for one; names of variables, which state dicts have, stay as they were given.
        """
        site = self.site(name, layer)
        site.name = self._place(name)
        return site

    def _place(self, name: str) -> str:
        self.places[name] += 1
        number = self.places[name]
        return name if number == 1 else f"{name} ({number})"


@dataclass(frozen=True)
class filled:  # noqa: N801 - reads as a function; a closure could not be pickled with a plan
    """What makes an array of one number."""

    value: float

    def __call__(self, _: np.random.Generator, shape: Shape) -> Array:
        return np.full(shape, self.value)


def zeros(_: np.random.Generator, shape: Shape) -> Array:
    return np.zeros(shape)


@dataclass
class Site:
    """One layer at one place of the network: its forward ops, and its gradient ops as templates.

    In a gradient op, `gradient(y)` of an output y stands for what arrives from the readers of y;
    `gradient(x)` of an input or parameter is this layer's contribution to it. The compiler sums
    contributions and drops what nobody reads, so a layer always states all of its gradients.
    """

    lowering: Lowering
    name: str
    """No other layer's."""
    owner: object
    prefix: str
    """What the names of variables begin with: the layer's name as it was given."""
    forward_ops: list[Op] = field(default_factory=list)
    backward_ops: list[Op] = field(default_factory=list)
    made: list[Tensor] = field(default_factory=list)
    """Activations that this site wrote, views included."""
    variables: list[Variable] = field(default_factory=list)
    """What the layer keeps, shared with its other places."""
    output: Tensor | None = None
    """What the layer returned, for reports to name."""
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)
    """By forward tensor: arriving for what is in `made`, contributed for everything else."""
    asked: set[str] = field(default_factory=set)
    """Names of the variables that the layer has here."""

    # -- tensors ---------------------------------------------------------------------------

    def activation(self, shape: Shape, name: str = "y", dtype: str | None = None) -> Tensor:
        tensor = self._tensor(name, shape, "activation", dtype)
        self.made.append(tensor)
        return tensor

    def mask(self, shape: Shape, name: str, dtype: str | None = None) -> Tensor:
        """Kept by forward for backward, and no activation."""
        return self._tensor(name, shape, "mask", dtype)

    def view(self, x: Tensor, shape: Shape) -> Tensor:
        """The bytes of activation `x` in another shape; its gradient is a view likewise."""
        y = Tensor(f"{self.name}.view", shape, x.dtype, "activation", view_of=x)
        self.made.append(y)
        arriving = self.gradient(y)
        self.gradients[x] = Tensor(f"d:{x.name}", x.shape, x.dtype, "gradient", view_of=arriving)
        return y

    def parameter(self, name: str, shape: Shape, initial: Any, **layout: Any) -> Tensor:
        """A trained tensor, named `<layer>.<name>`.

        layout: along=(axis, x) where the tensor has something for each feature of x along an axis,
        which PyTorch may have in another order; or `to_torch` and `from_torch`, functions of an
        array.
        """
        return self._variable(name, shape, "parameter", initial, None, self._layout(**layout))

    def state(
        self, name: str, shape: Shape, initial: Any = zeros, dtype: str | None = None, **how: Any
    ) -> Tensor:
        """A tensor that steps update outside of the gradient: momentum, running statistics; `how`
        as a parameter's layout, and `saved`."""
        return self._variable(name, shape, "state", initial, dtype, self._layout(**how))

    def step_counter(self) -> Tensor:
        """Steps done so far: int64, shape (); the same tensor for the whole step."""
        return self.shared("step", "int64", zeros)

    def update_counter(self) -> Tensor:
        """Updates done so far: the step counter, where each step makes one."""
        if self.lowering.accumulate == 1:
            return self.step_counter()
        return self.shared("updates", "int64", zeros)

    def call_counter(self) -> Tensor:
        """Calls since the last update: int64, below `accumulate`."""
        return self.shared("micro_batch", "int64", zeros)

    def random_key(self) -> Tensor:
        """The seed, a uint64: the key of every counter-based random number."""
        seed = self.lowering.seed
        return self.shared("random_key", "uint64", filled(seed))

    def random_stream(self) -> int:
        """Random numbers of this place alone, in [0, 2^32): the CRC-32 of its name, or the next one
        that no other place of the step has."""
        stream = zlib.crc32(self.name.encode())
        while stream in self.lowering.streams:
            stream = (stream + 1) % 2**32
        self.lowering.streams.add(stream)
        return stream

    def shared(self, name: str, dtype: str, initial: Any) -> Tensor:
        """A scalar state of the whole step, made when first asked for; ArgumentError where it was
        made with another first value or dtype."""
        known = self.lowering.variables
        if (None, name) not in known:
            tensor = Tensor(name, (), dtype, "state")
            known[None, name] = Variable(name, tensor, initial, saved=False)
            self.lowering.names.add(name)
        there = known[None, name]
        if there.initial != initial or there.tensor.dtype != dtype:
            raise ArgumentError(
                f"{self.name}: {name!r} begins with {_first(initial)} here and with "
                f"{_first(there.initial)} elsewhere, and a step has one",
                "call what differs by a name of its own: site.shared(name, dtype, initial)",
            )
        return there.tensor

    def gradient(self, t: Tensor) -> Tensor:
        """dLoss / dt: see the class's docstring."""
        if t not in self.gradients:
            kind: Kind = "weight_gradient" if t.kind == "parameter" else "gradient"
            self.gradients[t] = Tensor(f"d:{t.name}", t.shape, t.dtype, kind)
        return self.gradients[t]

    # -- ops -------------------------------------------------------------------------------

    def forward(self, function: Function, **parts: Any) -> None:
        self.forward_ops.append(self._op(function, "forward", **parts))

    def dgrad(self, function: Function, **parts: Any) -> None:
        self.backward_ops.append(self._op(function, "dgrad", **parts))

    def wgrad(self, function: Function, **parts: Any) -> None:
        self.backward_ops.append(self._op(function, "wgrad", **parts))

    def update(self, function: Function, **parts: Any) -> None:
        self.forward_ops.append(self._op(function, "update", **parts))

    def _op(
        self,
        function: Function,
        phase: Phase,
        writes: Iterable[Tensor],
        reads: Iterable[Tensor],
        attributes: Mapping[str, Any] | None = None,
        flops: int = 0,
        in_place: tuple[tuple[int, int], ...] = (),
        **contract: Any,
    ) -> Op:
        """An op as the target runs it; `contract`: the fields of `Contract`."""
        op = Op(
            function,
            self.name,
            phase,
            tuple(writes),
            tuple(reads),
            in_place,
            attributes or {},
            flops,
            Contract(**contract),
        )
        how = self.lowering.target(op)
        scratch = (self._tensor("scratch", (how.scratch,), "scratch", None),) if how.scratch else ()
        attributes = op.attributes if how.attributes is None else how.attributes
        return replace(op, writes=(*op.writes, *scratch), attributes=attributes, takes=how.takes)

    def _tensor(self, name: str, shape: Shape, kind: Kind, dtype: str | None) -> Tensor:
        if kind in PERSISTENT:
            return Tensor(f"{self.prefix}.{name}", shape, dtype or self.lowering.master, kind)
        usual = self.lowering.dtype if kind == "activation" else self.lowering.master
        return Tensor(f"{self.name}.{name}{self.lowering.part}", shape, dtype or usual, kind)

    def _layout(self, along: tuple[int, Tensor] | None = None, **how: Any) -> dict[str, Any]:
        """`along` as the functions that it stands for; none where both orders are one."""
        if along is None:
            return how
        (axis, x), features = along, self.lowering.features_of(along[1])
        if len(x.shape) != 2 or is_plain(features):
            return how
        order = {"to_torch": ToTorch(axis, features), "from_torch": FromTorch(axis, features)}
        return {**how, **order}

    def _variable(
        self,
        name: str,
        shape: Shape,
        kind: Kind,
        initial: Callable[[np.random.Generator, Shape], Array],
        dtype: str | None,
        how: dict[str, Any],
    ) -> Tensor:
        known = self.lowering.variables
        tensor = self._tensor(name, shape, kind, dtype)
        if name in self.asked:
            raise ArgumentError(f"{tensor.name!r} is asked for twice", "name one differently")
        self.asked.add(name)
        if (self.owner, name) not in known:
            if tensor.name in self.lowering.names:
                raise ArgumentError(f"two layers have a {tensor.name!r}", "name one differently")
            known[self.owner, name] = Variable(tensor.name, tensor, initial, **how)
            self.lowering.names.add(tensor.name)
        variable = known[self.owner, name]
        there = variable.tensor
        if (there.shape, there.dtype) != (shape, tensor.dtype):
            raise ShapeError(
                f"{there.name} is {there.dtype} of {there.shape} at the layer's first place, and "
                f"would be {tensor.dtype} of {shape} here",
                "use two layers, or inputs of one size",
            )
        self.variables.append(variable)
        self._require_one_order(variable, how.get("to_torch"))
        return there

    def _require_one_order(self, variable: Variable, given: object) -> None:
        """ShapeError where a shared parameter would have two layouts in PyTorch."""
        count = variable.tensor.shape[-1] if variable.tensor.shape else 1
        here, there = (order_in_words(f, count) for f in (given, variable.to_torch))
        if here != there:
            raise ShapeError(
                f"{variable.name} is shared, and its inputs' features lie in two orders: {there} "
                f"at layer {variable.name.rpartition('.')[0]!r}, {here} at {self.name!r}",
                "use two layers: PyTorch flattens images as (C, H, W), minidl as (H, W, C), and no "
                "weights mean the same at both places",
            )


def _first(initial: Any) -> object:
    return initial.value if isinstance(initial, filled) else getattr(initial, "__name__", initial)
