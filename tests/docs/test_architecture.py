"""docs/architecture.md: its floors are those that hold, its example is what its tables are of."""

from __future__ import annotations

import re

import minidl as dl
from docs import examples, make
from minidl.compiler.lifetimes import lifetimes
from minidl.ir import Tensor
from tests.docs.pages import blocks, page, under
from tests.test_floors import FLOORS


def test_the_network_shown_is_the_one_planned() -> None:
    (code,) = blocks(page("docs/architecture.md"), "python")
    names: dict[str, object] = {}
    exec(compile(code, "architecture.md", "exec"), names)
    rows = [
        f"{i:2} {op.phase:8}{op.name}"
        for i, op in enumerate(names["plan"].graph.ops)  # type: ignore[attr-defined]
    ]
    shown = make.section(page("docs/architecture.md"), "arena ops").splitlines()[2:-1]
    assert [line[:69].rstrip() for line in shown] == rows


def test_the_drawing_has_every_room_on_its_floor() -> None:
    (drawing,) = re.findall(
        r"^```\n(.*?)^```$", under(page("docs/architecture.md"), "## Floors"), re.M | re.S
    )
    lines = [line[:47] for line in drawing.splitlines()[1:]]
    assert len(lines) == len(FLOORS)
    for line, rooms in zip(reversed(lines), FLOORS, strict=True):
        for name in set(rooms) - {"minidl.checkout", "minidl.__main__", "minidl.starting"}:
            own = name.rpartition(".")[2]
            assert re.search(rf"\b{own}\b", line), f"{name} is not in {line!r}"


def test_lifetimes_are_as_the_page_says() -> None:
    """From first touch to last; variables, inputs, outputs and the loss longer."""
    graph = dl.plan(examples.tiny_network(), 2, optimizer=examples.OPTIMIZER).graph
    end = len(graph.ops)
    touched: dict[Tensor, list[int]] = {}
    for i, op in enumerate(graph.ops):
        for t in {t.storage for t in (*op.reads, *op.writes)}:
            touched.setdefault(t, []).append(i)
    expected = {t: (at[0], at[-1] + 1) for t, at in touched.items()}
    for t in graph.inputs:
        expected[t] = (0, expected.get(t, (0, 1))[1])
    for t in (*graph.outputs, *(v.tensor for v in graph.variables)):
        first = expected[t.storage][0] if t in graph.outputs and t.size > 1 else 0
        expected[t.storage] = (first, end)
    assert {t: (life.first, life.last) for t, life in lifetimes(graph).items()} == expected
