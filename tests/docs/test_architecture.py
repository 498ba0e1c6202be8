"""docs/architecture.md: its floors are those that hold, its example is what its tables are of."""

from __future__ import annotations

import re

from docs import make
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


def test_the_picture_has_every_room_on_its_floor() -> None:
    (picture,) = re.findall(
        r"^```\n(.*?)^```$", under(page("docs/architecture.md"), "## Floors"), re.M | re.S
    )
    lines = [line[:47] for line in picture.splitlines()[1:]]
    assert len(lines) == len(FLOORS)
    for line, rooms in zip(reversed(lines), FLOORS, strict=True):
        for name in set(rooms) - {"minidl.checkout", "minidl.__main__"}:
            own = name.rpartition(".")[2]
            assert re.search(rf"\b{own}\b", line), f"{name} is not in {line!r}"
