"""A command of `minidl`: a module of its own, imported when the command is asked for."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

Example = tuple[str, str]
"""A command as it is typed, and what it does."""


@dataclass(frozen=True)
class Command:
    """The name of a module with a docstring, EXAMPLES, `add_arguments` and `run`.

    `minidl --help` shows every docstring's first line and every first example: both are read from
    the module's text, since importing all commands takes longer than a person likes to wait.
    """

    name: str

    @cached_property
    def module(self) -> ModuleType:
        return import_module(self.name)

    @cached_property
    def description(self) -> str:
        """The module's docstring."""
        return ast.get_docstring(self._text) or ""

    @property
    def summary(self) -> str:
        """The description's first line."""
        return self.description.partition("\n")[0]

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """EXAMPLES, the one that says most first."""
        (value,) = (
            node.value
            for node in self._text.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES"
        )
        examples: tuple[Example, ...] = ast.literal_eval(value)
        return examples

    @cached_property
    def _text(self) -> ast.Module:
        spec = find_spec(self.name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module {self.name}", name=self.name)
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
