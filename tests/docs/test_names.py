"""docs/names.md: every name of minidl in its tables exists, and takes the arguments shown; every
layer, loss, optimizer, schedule and memory mode has a row in docs/names.tsv."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import Any

import pytest

import minidl as dl
from docs import names
from minidl.compiler.modes import MODES
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
    starred = [k.value for k in call.keywords if k.arg is None]
    assert {k.arg for k in call.keywords} - {None} <= set(known), ast.unparse(call)
    assert set(map(ast.unparse, starred)) <= set(known), ast.unparse(call)
    plain = [a.value if isinstance(a, ast.Starred) else a for a in call.args]
    words = [a.id if isinstance(a, ast.Name) else None for a in plain]
    for i, word in enumerate(words):
        assert word in (None, known[i]), f"{ast.unparse(call)}: argument {i} is {known[i]}"


@pytest.mark.parametrize("shown", dict.fromkeys(SHOWN))
def test_the_name_exists(shown: str, roots: dict[str, Any]) -> None:
    call = re.sub(r"(?<=[(\s])\*(, |(?=\)))", "", shown)  # what stands behind it goes by name
    resolved(ast.parse(call, mode="eval").body, roots)


def test_rows_have_four_cells_and_names_of_minidl_in_the_third() -> None:
    assert len(IN_TABLES) > 80
    for row in ROWS:
        assert len(row) == 4, row
        begun = re.findall(r"`(\w+)", row[2])
        assert set(begun) <= {"dl", "minidl", "step", "trainer"}, row


def test_every_layer_loss_optimizer_schedule_and_mode_has_a_row() -> None:
    published = {name: getattr(dl, name) for name in dl.__all__}
    kinds = (dl.Layer, dl.Loss, dl.Optimizer)
    wanted = {n for n, it in published.items() if isinstance(it, type) and issubclass(it, kinds)}
    wanted |= {f"train.{type(schedule).__name__}" for schedule in SCHEDULES.values()}
    wanted |= {f'memory="{mode}"' for mode in MODES}
    missing = {
        name
        for name in wanted - {"Loss", "Optimizer", "train.Constant"}
        if not any(re.search(rf"\b{re.escape(name)}(?!\w)", row.names) for row in names.ROWS)
    }
    assert missing == set(), "add a line to docs/names.tsv, and run: python -m docs.make"


def test_arguments_are_the_codes_or_an_example() -> None:
    """Nobody types a signature: a call in the table of names has constants only."""
    for row in names.ROWS:
        for name in filter(None, row.names.split("; ")):
            for call in ast.walk(ast.parse(name, mode="eval")):
                given = [*call.args, *call.keywords] if isinstance(call, ast.Call) else []
                for value in given:
                    value = value.value if isinstance(value, ast.keyword) else value
                    assert isinstance(value, ast.Constant), f"{name}: write {name.split('(')[0]}()"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dl.Dropout()", "dl.Dropout(p=0.5)"),
        ("dl.GELU()", 'dl.GELU(approximate="none")'),
        ("dl.plan()", "dl.plan(network, batch, ...)"),
        ("dl.Sequential()", "dl.Sequential(*layers, **named)"),
        ("step()", "step(*arrays)"),
        ("dl.plan(..., seed=0)", "dl.plan(..., seed=0)"),
    ],
)
def test_the_arguments_shown_are_those_of_the_code(name: str, shown: str) -> None:
    assert names.with_signature(name) == shown
