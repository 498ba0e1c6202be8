"""Lowering and Site: how a layer says, in ops and tensors, what its forward and gradients are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np

from minidl.ir.card import Card
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
from minidl.ir.op import Function, Op, Phase
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
    device: str = "cpu"
    scratch_limit: int = 32 * 2**20
    """Bytes of workspace that one op may plan."""
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
    precision: str = "float32"
    """How products are computed: float32, tf32 or bf16; float64 on the CPU device."""
    tuning: Mapping[str, tuple[str, int]] | None = None
    """Measured tiles of matrix products: see `minidl.ops.cuda.product`."""
    card: Card | None = None
    """The GPU that tiles are chosen for; None: the default one of `minidl.cards`."""
    part: str = ""
    """Ends the names of tensors of one slice of the batch."""
    calls: list[Call] | None = None
    """A list: layers are noted there instead of being lowered."""
    accumulate: int = 1
    """Calls of the step that make one update."""

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
            self.calls.append(Call(layer, name, inputs, output))
        return output

    def site(self, name: str, owner: object) -> Site:
        self.sites.append(Site(self, name, owner))
        return self.sites[-1]


def filled(value: float) -> Callable[[np.random.Generator, Shape], Array]:
    """What makes an array of one number."""
    return partial(_full, value)  # and no closure, so that plans can be pickled


def _full(value: float, _: np.random.Generator, shape: Shape) -> Array:
    return np.full(shape, value)


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
    owner: object
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

    def host_scratch(self, elements: int, dtype: str | None = None) -> tuple[Tensor, ...]:
        """Workspace of the NumPy implementation; CUDA kernels work in shared memory instead."""
        if self.lowering.device != "cpu":
            return ()
        return (self._tensor("scratch", (elements,), "scratch", dtype),)

    def device_scratch(self, elements: int) -> tuple[Tensor, ...]:
        """Workspace of CUDA kernels in global memory: partial sums, float32."""
        if self.lowering.device != "cuda" or not elements:
            return ()
        return (self._tensor("scratch", (elements,), "scratch", None),)

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

    def shared(self, name: str, dtype: str, initial: Any) -> Tensor:
        """A scalar state of the whole step, made when first asked for."""
        known = self.lowering.variables
        if (None, name) not in known:
            tensor = Tensor(name, (), dtype, "state")
            known[None, name] = Variable(name, tensor, initial, saved=False)
            self.lowering.names.add(name)
        return known[None, name].tensor

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
        attributes: dict[str, Any] | None = None,
        **contract: Any,
    ) -> Op:
        return Op(
            function,
            self.name,
            phase,
            tuple(writes),
            tuple(reads),
            attributes=attributes or {},
            **contract,
        )

    def _tensor(self, name: str, shape: Shape, kind: Kind, dtype: str | None) -> Tensor:
        lasting = kind in PERSISTENT
        own = f"{self.name}.{name}" if lasting else f"{self.name}.{name}{self.lowering.part}"
        usual = self.lowering.dtype if kind == "activation" else self.lowering.master
        return Tensor(own, shape, dtype or usual, kind)

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
        if (self.owner, name) not in known:
            tensor = self._tensor(name, shape, kind, dtype)
            if tensor.name in self.lowering.names:
                raise ArgumentError(f"two layers have a {tensor.name!r}", "name one differently")
            known[self.owner, name] = Variable(tensor.name, tensor, initial, **how)
            self.lowering.names.add(tensor.name)
        variable = known[self.owner, name]
        self.variables.append(variable)
        self._require_one_order(variable, how.get("to_torch"))
        return variable.tensor

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
