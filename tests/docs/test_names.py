"""docs/names.md: every name of minidl in its tables exists, and takes the arguments shown."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import Any

import pytest

import minidl as dl
from minidl.train import SCHEDULES, Trainer
from tests.docs.pages import page

PAGE = page("docs/names.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in re.sub(r"\| (?=\|)", "|  ", PAGE).splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| PyTorch"))
]
IN_TABLES = [name for row in ROWS for name in re.findall(r"`([^`]*)`", row[2])]
SHOWN = [*IN_TABLES, *re.findall(r"`((?:dl|minidl|step|trainer)\.[^`]*)`", PAGE)]


@pytest.fixture(scope="module")
def roots() -> dict[str, Any]:
    """What the names on the page begin with."""
    net = dl.Sequential(dl.Input((4,)), dl.Linear(2))
    step = dl.compile(net, batch=2)
    return {"dl": dl, "minidl": dl, "step": step, "trainer": Trainer(step, quiet=True)}


def resolved(node: ast.expr, roots: dict[str, Any]) -> Any:
    """What an expression names; a call of a class stands for what it makes."""
    if isinstance(node, ast.Name):
        return roots[node.id]
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, roots)
        if inspect.ismodule(owner) and not hasattr(owner, node.attr):
            return importlib.import_module(f"{owner.__name__}.{node.attr}")
        return getattr(owner, node.attr)
    if isinstance(node, ast.Subscript):
        return resolved(node.value, roots)[ast.literal_eval(node.slice)]
    assert isinstance(node, ast.Call), ast.dump(node)
    function = resolved(node.func, roots)
    require_arguments(node, list(inspect.signature(function).parameters))
    return dl.Plan if function is dl.plan else function


def require_arguments(call: ast.Call, known: list[str]) -> None:
    """Keywords are the function's own, and so are words in their places."""
    assert {k.arg for k in call.keywords} <= set(known), ast.unparse(call)
    words = [a.id if isinstance(a, ast.Name) else None for a in call.args]
    for i, word in enumerate(words):
        assert word in (None, known[i]), f"{ast.unparse(call)}: argument {i} is {known[i]}"


@pytest.mark.parametrize("shown", dict.fromkeys(SHOWN))
def test_the_name_exists(shown: str, roots: dict[str, Any]) -> None:
    resolved(ast.parse(shown, mode="eval").body, roots)


def test_rows_have_four_cells_and_names_of_minidl_in_the_third() -> None:
    assert len(IN_TABLES) > 80
    for row in ROWS:
        assert len(row) == 4, row
        begun = re.findall(r"`(\w+)", row[2])
        assert set(begun) <= {"dl", "minidl", "step", "trainer"}, row


def test_every_layer_optimizer_and_schedule_is_in_a_table() -> None:
    published = {name: getattr(dl, name) for name in dl.__all__}
    kinds = (dl.Layer, dl.Optimizer)
    names = {n for n, it in published.items() if isinstance(it, type) and issubclass(it, kinds)}
    names |= {f"train.{type(schedule).__name__}" for schedule in SCHEDULES.values()}
    for name in names - {"Loss", "Optimizer", "train.Constant"}:
        assert any(re.search(rf"\b{re.escape(name)}\b", shown) for shown in IN_TABLES), name
