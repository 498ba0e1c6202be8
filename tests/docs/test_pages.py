"""Every page: links lead somewhere. What it names is in test_references."""

from __future__ import annotations

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
        *ROOT.glob("kernels/**/*.md"),
        *ROOT.glob("benchmarks/**/*.md"),
    )
)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    folder = Path(ROOT / name).parent
    broken = [target for target in links(page(name)) if not (folder / target).exists()]
    assert not broken
