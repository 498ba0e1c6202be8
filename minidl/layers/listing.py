"""A network as people see it printed: its layers, what each makes, and how many weights it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minidl.ir import Lowering, Shape, Tensor
from minidl.ir.printed import beside, columns
from minidl.ir.site import Call
from minidl.layers.base import Layer

HEAD = ("layer", "kind", "output", "parameters", "reads")
FIGURES = (3,)
READ = 2
"""Names of what a layer reads that a row has."""


def layer_table(
    title: str, inputs: Sequence[Tensor], calls: Sequence[Call], weights: dict[str, int]
) -> str:
    """A line of totals, then a row a layer, with the shape of one sample's output; `reads` says
    what is read where it is not the row above. weights: elements by the layer's place."""
    names = {t: t.name for t in inputs} | {call.output: call.place for call in calls}
    rows, above = [], inputs[:1]
    for call in calls:
        reads = [beside(call.place, names[t]) for t in call.inputs]
        said = "" if list(call.inputs) == list(above) else _few(reads)
        count = weights.get(call.place, 0)
        size = f"{count:,}" if count else "-"
        rows.append((call.place, type(call.layer).__name__, by(call.output.shape[1:]), size, said))
        above = (call.output,)
    given = ", ".join(by(t.shape[1:]) + _unusual(t) for t in inputs)
    total = f"{len(calls):,} layers, {sum(weights.values()):,} parameters"
    wide = len(HEAD) if any(row[-1] for row in rows) else len(HEAD) - 1
    table = columns(HEAD[:wide], [row[:wide] for row in rows], FIGURES)
    return f"{title}: input {given}, {total}\n{table}"


def weights_by_place(lowering: Lowering) -> dict[str, int]:
    """Elements of each layer's parameters; those that are used again count where they are first."""
    counted: set[Tensor] = set()
    found = {}
    for site in lowering.sites:
        own = {v.tensor for v in site.variables if v.tensor.kind == "parameter"} - counted
        counted |= own
        found[site.name] = sum(t.size for t in own)
    return found


def layer_list(title: str, layers: Iterable[tuple[str, Layer]], why: str) -> str:
    """Layers whose outputs nobody knows, and why."""
    rows = [(name, type(layer).__name__) for name, layer in layers]
    return f"{title}: {len(rows):,} layers\n{columns(('layer', 'kind'), rows)}\n{why}"


def by(shape: Shape) -> str:
    """`32x32x3`."""
    return "x".join(map(str, shape)) or "scalar"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - READ} more" if len(names) > READ else ""
    return ", ".join(names[:READ]) + more


def _unusual(t: Tensor) -> str:
    return "" if t.dtype == "float32" else f" {t.dtype}"
