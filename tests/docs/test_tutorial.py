"""docs/tutorial.md: every block runs, in order, in one namespace, on stand-ins for the data."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.docs.pages import page, pattern, scripts, under, words
from tests.docs.stand_ins import write_all

PAGE = page("docs/tutorial.md")
EPOCHS = re.compile(r"(epochs=)\d\d\b")
"""Numbers of epochs that a test has no time for."""


def run() -> dict[str, Any]:
    """The page's namespace at its end; what blocks print is what the page shows."""
    names: dict[str, Any] = {}
    for code, shown in scripts(PAGE):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(EPOCHS.sub(r"\g<1>2", code), "tutorial.md", "exec"), names)
        if shown is not None:
            said = words(printed.getvalue())
            assert re.fullmatch(pattern(shown), said), printed.getvalue()
    return names


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, since the page takes some seconds."""
    monkeypatch.chdir(tmp_path)
    write_all(tmp_path)
    names = run()
    assert names["found"].count == 130
    assert names["own"].classes == ("cup", "fork", "plate")
    require_files(tmp_path / "runs" / "cifar10")
    require_same(names["probabilities"], names["outputs"])


def require_files(folder: Path) -> None:
    """The run's folder has what the page lists."""
    listed = set(re.findall(r"^\| `(.*?)` \|", under(PAGE, "## Train"), re.MULTILINE))
    there = {re.sub(r"-\d+", "-...", path.name) for path in folder.iterdir()}
    assert there == listed - {"steps.csv"}


def require_same(probabilities: Any, outputs: Any) -> None:
    """ONNX gives the softmax of what `predict` gives."""
    exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
