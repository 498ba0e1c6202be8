"""Every page: links lead somewhere, folders and files that are named exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, links, page

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
    )
)
SOURCE = re.compile(r"`((?:minidl|models|tests|docs|kernels)/[\w/.]+\.(?:py|md|svg|cu))`")
TO_COME = {"minidl/layers/scale.py", "tests/layers/test_scale.py", "kernels/scale.cu"}
"""Files that docs/adding_a_layer.md tells its reader to write."""


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    folder = Path(ROOT / name).parent
    broken = [target for target in links(page(name)) if not (folder / target).exists()]
    assert not broken


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_exist(name: str) -> None:
    named = set(SOURCE.findall(page(name))) - TO_COME
    assert not [file for file in sorted(named) if not (ROOT / file).exists()]
