"""Fixtures of the compiler's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from minidl.compiler.modes import MODES


@pytest.fixture(scope="module")
def quick_placement() -> Iterator[None]:
    """Little effort on placements that miss their lower bound: here bits count, not bytes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, mode in MODES.items():
            patch.setitem(MODES, name, replace(mode, effort=1000))
        yield
