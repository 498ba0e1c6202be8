"""Errors as data: what is wrong, where, and the way out; they travel between processes."""

from __future__ import annotations

import ast
import pickle

import pytest

import minidl as dl
from minidl.cli.hints import HINTS, in_flags
from minidl.ir.errors import MinidlError
from tests.test_floors import MODULES


def kinds(kind: type[MinidlError] = MinidlError) -> list[type[MinidlError]]:
    return [kind, *(k for below in kind.__subclasses__() for k in kinds(below))]


PLAIN = [kind for kind in kinds() if kind is not dl.BudgetError]


@pytest.mark.parametrize("kind", PLAIN)
def test_the_hint_stands_behind_the_message(kind: type[MinidlError]) -> None:
    error = kind("it is wrong", hint="do better")
    assert (error.message, error.hint) == ("it is wrong", "do better")
    assert str(error) == "it is wrong: do better"
    assert str(error.at("here")) == "here: it is wrong: do better"
    assert str(error.hinting("")) == "here: it is wrong"
    assert str(kind("alone")) == "alone"
    assert str(kind()) == ""


def test_the_budget_is_one_of_them() -> None:
    error = dl.BudgetError(2048, 5120, "batch 3 would fit").at("predict")
    assert str(error) == (
        "predict: the budget of 2.00 KiB is 3.00 KiB short: the least that was found is 5.00 KiB "
        "(5,120 bytes): batch 3 would fit"
    )
    assert (error.budget, error.needed, error.hint) == (2048, 5120, "batch 3 would fit")


@pytest.mark.parametrize(
    "error",
    [dl.ShapeError("wrong", "do better").at("here"), dl.BudgetError(1, 2, "batch 3").at("here")],
)
def test_errors_are_pickled_whole(error: MinidlError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.message, again.hint) == (str(error), error.message, error.hint)


def test_a_step_says_its_ways_out_as_hints() -> None:
    net = dl.models.lenet(classes=3, image=(28, 28, 1))
    with pytest.raises(dl.BudgetError) as caught:
        dl.plan(net, 64, budget="1KiB")
    first, *levers = caught.value.hint.split("; ")
    assert first == "batch 1 does not fit either"
    assert all(" needs about " in lever for lever in levers)


def test_the_command_line_has_words_of_its_own_for_hints() -> None:
    for hint, words in HINTS.items():
        error = in_flags(MinidlError("it is wrong", hint))
        assert str(error) == f"it is wrong: {words}"
    assert str(in_flags(MinidlError("it is wrong", "do better"))) == "it is wrong: do better"


def test_no_message_is_taken_apart() -> None:
    """No string method and no search on the text of a caught error of minidl."""
    found = []
    for name, path in MODULES.items():
        for handler in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(handler, ast.ExceptHandler) and handler.name and own(handler):
                found += [name for node in ast.walk(handler) if edits(node, handler.name)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "words = str(error).replace('a', 'b')",
        "words = str(error).partition(':')[0]",
        "found = 'a' in str(error)",
        "raise ArgumentError(f'{path}: {error}') from None",
        "raise ArgumentError(str(error)) from None",
        "raise type(error)(f'{path}: {error}')",
    ],
)
def test_a_message_that_is_taken_apart_is_seen(line: str) -> None:
    assert any(edits(node, "error") for node in ast.walk(ast.parse(line)))


def own(handler: ast.ExceptHandler) -> bool:
    """Whether it catches an error of minidl."""
    kinds_caught = ast.walk(handler.type) if handler.type is not None else []
    names = {getattr(n, "id", getattr(n, "attr", "")) for n in kinds_caught}
    return bool(names & {kind.__name__ for kind in kinds()})


def edits(node: ast.AST, error: str) -> bool:
    """Whether a node is `str(error).method(...)`, a search in it, or another error of the same
    text: `Error(f"...{error}")`, where `at` and `hinting` keep the hint."""
    text = f"str({error})"
    if isinstance(node, ast.Attribute):
        return ast.unparse(node.value) == text and node.attr != "split"
    if isinstance(node, ast.Compare):
        return text in map(ast.unparse, node.comparators)
    if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
        return False
    if "ArgumentTypeError" in ast.unparse(node.exc.func):  # argparse knows no hints
        return False
    parts = map(ast.unparse, ast.walk(node.exc))
    return text in parts or f"{{{error}}}" in ast.unparse(node.exc)
