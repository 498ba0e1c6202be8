"""Layer: what every layer is, and the one place that names a layer in a shape error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

from minidl.ir import ArgumentError, Lowering, Shape, ShapeError, Site, Tensor
from minidl.ir.arrays import DTYPE
from minidl.ir.calls import called
from minidl.ir.features import Given, Order, described, features_after, is_plain
from minidl.ir.printed import fields_of, never_raises
from minidl.ir.readers import SHAPE, optional

_born = count()


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """A value in a network being composed: the output of `layer` at `inputs`."""

    layer: Layer | None
    inputs: tuple[Node, ...] = ()
    name: str | None = None
    shape: Shape = ()
    """For an Input: the shape of one sample."""
    dtype: str | None = None
    born: int = field(default_factory=lambda: next(_born))
    """Nodes are made after their inputs, so this is a topological order."""

    @never_raises
    def __repr__(self) -> str:
        """Without what it reads, which may be a whole network."""
        if self.layer is None:
            dtype = f", dtype={self.dtype!r}" if self.dtype is not None else ""
            return f"Input({self.shape}{dtype})"
        named = f", name={self.name!r}" if self.name is not None else ""
        return f"<output of {self.layer.brief()}{named}>"


@called(
    "write Input((height, width, channels)) or Input(features), without the batch",
    {"shape": SHAPE, "dtype": optional(DTYPE)},
    batch_size="",
)
def Input(shape: Shape | int, *, dtype: str | None = None) -> Node:  # noqa: N802 - as a layer
    """The network's input: the shape of one sample, (height, width, channels) or (features,)."""
    sample: Any = shape
    return Node(None, shape=sample, dtype=dtype)


class Layer:
    """A recipe, without tensors: `output_shape` infers, `lower` states forward and gradients.

    Layers are compared by identity; one layer used at two places shares its parameters.
    Shapes include the batch: (N, H, W, C) for images, (N, features) for vectors.
    """

    couples_samples: ClassVar[bool] = False
    """Whether a sample's output depends on the others of its batch, or on its place in it."""
    order: ClassVar[Order] = ""
    """What becomes of the order of the inputs' features, where it makes vectors (N, features) of
    images or of other vectors. "same": each feature is of that of every input; "joined": they are
    the inputs' one behind the other; "new": its own, in which the inputs' are mixed. Not said, a
    flattened image is refused, and making one."""

    def brief(self) -> str:
        """In one line, as an error names it."""
        return repr(self)

    @never_raises
    def __repr__(self) -> str:
        """Of a layer that is no dataclass: its class and what plain values it has."""
        return f"{type(self).__name__}({fields_of(self)})"

    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape of the output, or ShapeError saying which input would fit."""
        raise NotImplementedError

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        """Emit the forward ops and the gradient ops at `site`; return the output."""
        raise NotImplementedError

    def __call__(self, *inputs: Node, name: str | None = None) -> Node:
        """Use this layer in a network at `inputs`; `name` prefixes its parameters' names."""
        for node in inputs:
            if not isinstance(node, Node):
                raise ArgumentError(
                    f"{self.brief()} is applied to dl.Input or to another layer's output, not to "
                    f"{type(node).__name__}",
                    "give arrays to the compiled step",
                )
        return Node(self, inputs, name)

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor:
        """Lower this layer under `name`, or note that it is to be; a shape error names it."""
        try:
            if lowering.calls is not None:
                output = lowering.note(self, name, inputs, self.output_shape(*shapes(inputs)))
            else:
                output = self.emit(lowering, name, *inputs)
            given = [Given(x.name, x.shape, lowering.features_of(x)) for x in inputs]
            lowering.features[output] = features_after(self.order, given, output.shape)
            return output
        except ShapeError as error:
            got = ", ".join(map(str, shapes(inputs)))
            raise error.at(f"layer {name!r}, {self.brief()}, input {got}") from None

    def emit(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor:
        """Lower this layer at a site of its own."""
        _require_identity(self)
        site = lowering.layer_site(name, self)
        site.output = output = self.lower(site, *inputs)
        for x in inputs:
            self._require_layouts(site, x)
        return output

    def _require_layouts(self, site: Site, x: Tensor) -> None:
        """ShapeError where a parameter has something for each feature of a flattened image, and
        PyTorch's order of them was not asked for."""
        features = site.lowering.features_of(x)
        if len(x.shape) != 2 or is_plain(features):
            return
        wide = [v for v in site.variables if x.shape[1] in v.tensor.shape]
        unsaid = [v.name for v in wide if not v.ordered]
        if unsaid and (self.order == "same" or len(unsaid) == len(wide)):
            raise ShapeError(
                f"{', '.join(unsaid)} with something for each feature of {x.name}, "
                f"{described(features)}, has no layout for PyTorch",
                "make it with along=(axis, x): docs/adding_a_layer.md",
            )


def _require_identity(layer: Layer) -> None:
    """ArgumentError where equal layers would share their parameters, as those of a dataclass do."""
    if type(layer).__eq__ is not object.__eq__:
        raise ArgumentError(
            f"{layer!r}: layers are compared by identity, and {type(layer).__name__} has an __eq__ "
            "of its own: two equal ones would share their parameters",
            "write @dataclass(frozen=True, eq=False)",
        )


def shapes(tensors: Iterable[Tensor]) -> list[Shape]:
    return [t.shape for t in tensors]


def require_rank(rank: int, shape: Shape, meaning: str) -> None:
    """ShapeError unless `shape` has `rank` dimensions."""
    if len(shape) != rank:
        raise ShapeError(f"needs {rank} dimensions {meaning}, got {len(shape)}: {shape}")
