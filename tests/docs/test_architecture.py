"""docs/architecture.md: its example is the network that its tables of ops are of."""

from __future__ import annotations

from docs import make
from tests.docs.pages import blocks, page


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
