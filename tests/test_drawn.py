"""The parts of what is drawn are all of it, in order, each once."""

from __future__ import annotations

import pytest

from tests.drawn import drawn


@pytest.mark.parametrize("count", [1, 2, 5, 31])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_are_the_whole(count: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIDL_TEST_ALL", raising=False)
    items = list(range(0, 3 * count, 3))
    found = [drawn(items, parts, part) for part in range(parts)]
    assert all(part == sorted(part) and part for part in found)
    assert sorted({item for part in found for item in part}) == items
    assert sum(map(len, found)) <= max(count, parts)


def test_all_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIDL_TEST_ALL", "1")
    assert drawn("abc", 3) == ["a", "b", "c"]
