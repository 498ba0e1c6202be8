"""What the sources of minidl say to people, read out of them: messages of errors, their hints."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from minidl.ir.errors import MinidlError

HOLE = "{}"
"""What stands in a text for a value."""


class Said(NamedTuple):
    """One error that is made: where, and all that its message and its hint may say."""

    where: str
    message: list[str]
    hint: list[str]


def errors(modules: Mapping[str, Path]) -> Iterator[Said]:
    """Every call that makes an error of minidl: of a class, or of a function that returns one."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    makers = {**classes(trees.values()), **functions(trees.values())}
    for name, tree in trees.items():
        for call, around in calls(tree):
            called = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if called in makers:
                yield Said(f"{name}:{call.lineno}", *parts(call, makers[called], tree, around))


def classes(trees: Iterable[ast.Module]) -> dict[str, list[str]]:
    """The parameters of each class below MinidlError, by its name."""
    found = {MinidlError.__name__: ["message", "hint"]}
    nodes = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    for _ in nodes:  # a class may stand before what it is made of
        for node in nodes:
            below = [found[base.id] for base in node.bases if named(base) and base.id in found]
            own = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
            if below:
                found[node.name] = arguments(own[0])[1:] if own else below[0]
    return found


def functions(trees: Iterable[ast.Module]) -> dict[str, list[str]]:
    """The parameters of each function that makes an error of minidl out of words."""
    trees = list(trees)
    kinds = classes(trees)
    return {
        node.name: arguments(node)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.returns is not None
        if ast.unparse(node.returns) in kinds
    }


def arguments(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Every call, with the function that it stands in."""

    def below(node: ast.AST, around: ast.AST) -> Iterator[tuple[ast.Call, ast.AST]]:
        if isinstance(node, ast.Call):
            yield node, around
        inside = node if isinstance(node, ast.FunctionDef) else around
        for child in ast.iter_child_nodes(node):
            yield from below(child, inside)

    return below(tree, tree)


def parts(
    call: ast.Call, names: list[str], tree: ast.Module, around: ast.AST
) -> tuple[list[str], list[str]]:
    """What the message and the hint of a call say."""
    message, hint = list[str](), list[str]()
    given = [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]
    for name, value in given:
        (hint if name == "hint" else message).extend(texts(value, tree, around))
    return message, hint


def texts(value: ast.expr, tree: ast.Module, around: ast.AST) -> Iterator[str]:
    """The text of an expression, holes for values, and that of the names and functions in it."""
    yield text(value)
    for node in ast.walk(value):
        if named(node):
            yield from (text(found) for found in assigned(node.id, tree, around))
        if isinstance(node, ast.Call) and named(node.func):
            yield from (text(found) for found in returned(node.func.id, tree))


def text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text(v) if isinstance(v, ast.Constant) else HOLE for v in node.values)
    if isinstance(node, ast.BinOp):
        return text(node.left) + text(node.right)
    return text(node.body) if isinstance(node, ast.IfExp) else HOLE


def named(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def assigned(name: str, tree: ast.Module, around: ast.AST) -> Iterator[ast.expr]:
    """What a name is given in a function, or else at the top of its module."""
    for scope in (ast.walk(around), tree.body):
        for node in scope:
            if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
                yield node.value


def returned(name: str, tree: ast.Module) -> Iterator[ast.expr]:
    """What a function of the module returns."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield inner.value
