"""Faults that one change of a source file makes, found in its syntax tree.

Texts of errors, docstrings, annotations, decorators, imports and `__all__` are left alone.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"), ast.In: ("in", "not in"), ast.NotIn: (r"not\s+in", "in"),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"), ast.Sub: ("-", "+"), ast.Mult: (r"\*", "+"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"), ast.Pow: (r"\*\*", "*"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"), ast.BitAnd: ("&", "|"),
    ast.BitOr: (r"\|", "&"), ast.BitXor: (r"\^", "&"),
}  # fmt: skip
LOGIC: dict[type[ast.boolop], tuple[str, str]] = {ast.And: ("and", "or"), ast.Or: ("or", "and")}
"""The operator as it is written, and what stands in its place in a fault."""

KINDS = ("comparison", "arithmetic", "logic", "constant", "dropped", "negated")

DROPPABLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Fault:
    """One change: `before` becomes `after` at character `start` of a statement.

    `statement` is its text, of a compound one that of its head; `function` the dotted name of what
    it stands in, "" for a module; `occurrence` counts the same statements of one function.
    Line from 1 and column from 0 say where it was when it was drawn, and find nothing.
    """

    file: str
    function: str
    kind: str
    statement: str
    occurrence: int
    start: int
    before: str
    after: str
    line: int
    column: int

    @property
    def key(self) -> tuple[object, ...]:
        """What it is, wherever it stands."""
        place = (self.file, self.function, self.statement, self.occurrence)
        return (*place, self.kind, self.start, self.before, self.after)

    def __str__(self) -> str:
        change = " ".join(f"{self.before} -> {self.after}".split())
        return f"{self.file}:{self.line}:{self.column} {self.kind}: {change}"


def faults_in(file: str, text: str) -> list[Fault]:
    """Every fault that can be made in a file, in the order of the text."""
    return _Source(file, text).faults()


def with_fault(text: str, fault: Fault) -> str | None:
    """The text with the fault in it; None where it has no such statement."""
    for found in faults_in(fault.file, text):
        if found.key == fault.key:
            lines = text.splitlines(keepends=True)
            at = sum(map(len, lines[: found.line - 1])) + found.column
            assert text[at:].startswith(fault.before)
            return text[:at] + fault.after + text[at + len(fault.before) :]
    return None


@dataclass(frozen=True)
class _Change:
    """A fault by its places in the whole text."""

    kind: str
    begin: int
    end: int
    after: str


class _Source:
    """One file: its text, its tree, and where a node stands in the text."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.lines = text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def faults(self) -> list[Fault]:
        found: list[Fault] = []
        seen: Counter[tuple[str, str]] = Counter()
        for function, statement, names in _statements(ast.parse(self.text)):
            begin, end = self.head(statement)
            head = self.text[begin:end]
            occurrence = seen[function, head]
            seen[function, head] += 1
            changes = [*self.changes(statement), *self.dropped(statement, names)]
            for change in sorted(set(changes), key=_place):
                line = self.text.count("\n", 0, change.begin)
                made = Fault(
                    self.file, function, change.kind, head, occurrence, change.begin - begin,
                    self.text[change.begin : change.end], change.after,
                    line + 1, change.begin - self.starts[line],
                )  # fmt: skip
                found.append(made)
        return found

    def place(self, line: int, column: int) -> int:
        """Of a position in the tree, whose columns count bytes."""
        before = self.lines[line - 1].encode()[:column].decode()
        return self.starts[line - 1] + len(before)

    def begin(self, node: ast.expr | ast.stmt) -> int:
        return self.place(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.place(node.end_lineno, node.end_col_offset)

    def head(self, statement: ast.stmt) -> tuple[int, int]:
        """The text of a statement, without the body of a compound one."""
        begin, end = self.begin(statement), self.end(statement)
        inner = [self.begin(s) for s in _inside(statement)]
        end = min([end, *inner])
        return begin, begin + len(self.text[begin:end].rstrip())

    def dropped(self, statement: ast.stmt, names: set[str] | None) -> Iterator[_Change]:
        """`pass` in its place, unless it is the first to give a name a value: no test misses that.

        `names` are those that the function has values for, and get the statement's; None: a module.
        """
        given = _named(statement)
        missing = given and names is not None and not given & names
        if names is not None:
            names |= given
            if isinstance(statement, DROPPABLE) and not missing and not _says_nothing(statement):
                yield _Change("dropped", self.begin(statement), self.end(statement), "pass")

    def changes(self, statement: ast.stmt) -> Iterator[_Change]:
        for node in _expressions(statement):
            if isinstance(node, ast.Compare):
                yield from self.compared(node)
            elif isinstance(node, ast.BinOp):
                old, new = ARITHMETIC.get(type(node.op), ("", ""))
                yield from self.between("arithmetic", node.left, node.right, old, new)
            elif isinstance(node, ast.BoolOp):
                old, new = LOGIC[type(node.op)]
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self.between("logic", left, right, old, new)
            elif isinstance(node, ast.Constant) and type(node.value) is int:
                for value in (node.value + 1, node.value - 1):
                    after = str(value) if value >= 0 else f"({value})"
                    yield _Change("constant", self.begin(node), self.end(node), after)
        for test in _conditions(statement):
            begin, end = self.begin(test), self.end(test)
            yield _Change("negated", begin, end, f"(not ({self.text[begin:end]}))")

    def compared(self, node: ast.Compare) -> Iterator[_Change]:
        sides = [node.left, *node.comparators]
        for left, right, op in zip(sides, sides[1:], node.ops, strict=False):
            yield from self.between("comparison", left, right, *COMPARISONS[type(op)])

    def between(
        self, kind: str, left: ast.expr, right: ast.expr, old: str, new: str
    ) -> Iterator[_Change]:
        """The operator between two expressions; nothing where a comment stands there too."""
        begin, end = self.end(left), self.begin(right)
        gap = self.text[begin:end]
        written = re.search(old, gap) if old and "#" not in gap else None
        if written is not None:
            yield _Change(kind, begin + written.start(), begin + written.end(), new)


def _place(change: _Change) -> tuple[int, int, str, str]:
    return change.begin, change.end, change.kind, change.after


def _inside(statement: ast.stmt) -> Iterator[ast.stmt]:
    """The statements directly below a compound one."""
    for name in ("body", "orelse", "finalbody"):
        yield from getattr(statement, name, ())
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield from part.body


def _statements(
    node: ast.AST, function: str = "", names: set[str] | None = None
) -> Iterator[tuple[str, ast.stmt, set[str] | None]]:
    """Every statement that a fault may change, with its function and the names that it has."""
    inside = node.body if isinstance(node, ast.Module) else _inside(node)  # type: ignore[arg-type]
    for statement in inside:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{function}.{statement.name}".lstrip(".")
            yield from _statements(statement, inner, _parameters(statement))
        elif not _is_left_alone(statement):
            yield function, statement, names
            yield from _statements(statement, function, names)


def _parameters(inner: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str] | None:
    if isinstance(inner, ast.ClassDef):
        return None
    return {node.arg for node in ast.walk(inner.args) if isinstance(node, ast.arg)}


def _named(statement: ast.stmt) -> set[str]:
    """The names that it gives values to, not those of the statements inside of it."""
    return {
        node.id
        for part in (
            *_listed(getattr(statement, "targets", None)),
            *_listed(getattr(statement, "target", None)),
        )
        for node in ast.walk(part)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _is_left_alone(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if isinstance(statement, ast.If):
        return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
    names = getattr(statement, "targets", ())
    return any(isinstance(name, ast.Name) and name.id == "__all__" for name in names)


def _says_nothing(statement: ast.stmt) -> bool:
    """A docstring, `...`, or a declaration without a value: leaving it out changes nothing."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """Of a statement's head, without what an error says, annotations and formatted strings."""
    if isinstance(statement, ast.Raise):
        return
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr):
            continue
        if isinstance(node, ast.expr):
            yield node
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "body", "orelse", "finalbody", "handlers"):
                waiting += [v for v in _listed(value) if not isinstance(v, ast.stmt)]
            elif isinstance(node, ast.IfExp | ast.Lambda):
                waiting += _listed(value)


def _listed(value: object) -> list[ast.AST]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, ast.AST)]


def _conditions(statement: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(statement, ast.If | ast.While):
        yield statement.test
    for node in _expressions(statement):
        if isinstance(node, ast.IfExp):
            yield node.test
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for part in node.generators:
                yield from part.ifs
