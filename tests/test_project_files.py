"""What contributors and package indexes read says what the code says."""

from __future__ import annotations

import re
import sys

import pytest

import minidl
from tests.docs.pages import ROOT, page

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads(page("pyproject.toml"))["project"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def test_one_version() -> None:
    (cited,) = re.findall(r"^version: (\S+)$", page("CITATION.cff"), re.MULTILINE)
    assert cited == minidl.__version__ == PROJECT["version"]


def test_the_workflow_has_every_python_that_is_promised() -> None:
    promised = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python ::" in c]
    assert promised == PYTHONS
    lists = re.findall(r"python: (\[.*\])", page(".github/workflows/checks.yml"))
    assert lists == [str(PYTHONS).replace("'", '"'), '["3.10", "3.13"]']


def requirements() -> list[str]:
    """Of the package and its extras, but for those that are extras themselves."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return sorted({r for some in lists for r in some if not r.startswith("minidl[")})


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_has_a_lower_bound(requirement: str) -> None:
    assert re.match(r"[\w-]+(\[\w+\])?>=\d", requirement)


def test_the_extras_of_the_tests_are_there() -> None:
    (extras,) = re.findall(r"minidl\[(.+)\]", PROJECT["optional-dependencies"]["test"][0])
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_commands_of_the_workflow_are_those_of_check() -> None:
    workflow = page(".github/workflows/checks.yml") + page(".pre-commit-config.yaml")
    for command in re.findall(r'"\$PYTHON" -m ([a-z]+(?: format| check)?)', page("check")):
        assert f"python -m {command}" in workflow


def test_the_drawing_of_the_first_page_is_there() -> None:
    shown = re.findall(r'src="([\w.]+)"', page("docs/api/index.html.jinja2"))
    assert shown
    assert all((ROOT / "docs" / "images" / name).is_file() for name in shown)
