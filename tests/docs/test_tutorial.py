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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("tutorial")
    write_all(found)
    return found


@pytest.fixture(scope="module")
def run(folder: Path) -> dict[str, Any]:
    """The page's namespace at its end; what blocks print is what the page shows."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for code, shown in scripts(PAGE):
            printed = StringIO()
            with redirect_stdout(printed):
                exec(compile(EPOCHS.sub(r"\g<1>2", code), "tutorial.md", "exec"), names)
            if shown is not None:
                said = words(printed.getvalue())
                assert re.fullmatch(pattern(shown), said), printed.getvalue()
    return names


def test_the_page_runs(run: dict[str, Any]) -> None:
    assert run["history"].epochs
    assert run["found"].count == 130
    assert run["own"].classes == ("cup", "fork", "plate")


def test_the_folder_of_a_run_has_what_the_page_lists(run: dict[str, Any], folder: Path) -> None:
    rows = re.findall(r"^\| `(.*?)` \|", under(PAGE, "## Train"), re.MULTILINE)
    there = {path.name for path in (folder / "runs" / "cifar10").iterdir()}
    assert {re.sub(r"-\d+", "-...", name) for name in there} == set(rows) - {"steps.csv"}


def test_onnx_gives_what_predict_gives(run: dict[str, Any]) -> None:
    outputs = run["outputs"].astype(np.float64)
    exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run["probabilities"], expected, atol=1e-5)
