"""Fields of JSON and TOML: text that is parsed, and values that have the types they should have.

A type is said as an annotation says it: `int`, `float | None`, `list[str]`, `tuple[int, int, int]`,
`dict[str, tuple[str, int]]`, a dataclass for an object with its fields. What comes out has these
types; whole numbers stand for floats, lists for tuples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from itertools import islice
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from minidl.files.words import shown
from minidl.ir import ArgumentError

DEEPEST = 64
"""Lists in lists at most: what walks through them may call itself."""

LARGEST = 2**63
"""Whole numbers are below it, and above its negative."""


class Seed(int):
    """What random numbers start from, as an annotation: a whole number in [0, 2^64)."""


PLAIN = frozenset({float, str, bool, NoneType, None})
"""Kinds of which a value is what Python calls so; whole numbers have a range."""

TOLD = 5
"""Problems that one error tells of."""


def parse_json(text: str | bytes, finite: bool = False) -> Any:
    """The value of a text, no key twice in one object; finite: without NaN and infinities, which
    are no JSON but which Python writes. ArgumentError where it is none."""
    constant = _no_number if finite else float
    how: dict[str, Any] = {"object_pairs_hook": _without_doubles, "parse_constant": constant}
    return parsed(lambda given: json.loads(given, **how), text, "JSON")


def parsed(parse: Callable[[str], Any], text: str | bytes, what: str) -> Any:
    """What a parser of Python's makes of a text, UTF-8 where it is bytes; ArgumentError whatever
    it raises."""
    try:
        value = parse(text.decode("utf-8") if isinstance(text, bytes) else text)
    except ArgumentError:
        raise
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        why = "nested too deeply" if deep else str(error)
        raise ArgumentError(f"no {what}: {why}") from None
    _require_flat(value, what)
    return value


def take(kind: Any, value: Any, where: str) -> Any:
    """A parsed value as `kind`; ArgumentError that says what is wrong, at once for all fields."""
    found = list(islice(_problems(kind, value, where), TOLD + 1))
    if found:
        more = "; and more" if len(found) > TOLD else ""
        raise ArgumentError(f"{'; '.join(found[:TOLD])}{more}")
    return _made(kind, value)


def _problems(kind: Any, value: Any, where: str) -> Iterator[str]:
    """What is wrong with a value, in words; nothing where it is of that kind."""
    if kind is Any or _is_plain(kind, value):
        return
    origin, parts = _taken_apart(kind)
    if origin in (Union, UnionType):
        if not any(_fits(part, value) for part in parts):
            yield _must(kind, value, where)
    elif is_dataclass(kind) and isinstance(value, dict):
        yield from _problems_of_fields(kind, value, where)
    elif origin in (list, Sequence) and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _problems(parts[0], item, f"{where}[{i}]")
    elif origin is tuple and isinstance(value, list) and _has_length(parts, value):
        for i, (part, item) in enumerate(zip(_spread(parts, value), value, strict=True)):
            yield from _problems(part, item, f"{where}[{i}]")
    elif origin in (dict, Mapping) and isinstance(value, dict):
        for key, item in value.items():
            yield from _problems(parts[1], item, f"{where}: {shown(key)}")
    else:
        yield _must(kind, value, where)


def _problems_of_fields(kind: Any, value: Mapping[str, Any], where: str) -> Iterator[str]:
    hints = _hints(kind)
    for f in fields(kind):
        if f.name in value:
            yield from _problems(hints[f.name], value[f.name], f"{where}: {f.name!r}")
        elif f.default is MISSING and f.default_factory is MISSING:
            yield f"{where}: {f.name!r} is missing"
    for key in value.keys() - {f.name for f in fields(kind)}:
        yield f"{where}: {shown(key)} is unknown"


def _made(kind: Any, value: Any) -> Any:
    """A value without problems as its kind."""
    if kind is Any or _is_plain(kind, value):
        return float(value) if kind is float else value
    origin, parts = _taken_apart(kind)
    if origin in (Union, UnionType):
        return _made(next(part for part in parts if _fits(part, value)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{key: _made(hints[key], item) for key, item in value.items()})
    if origin in (list, Sequence):
        return [_made(parts[0], item) for item in value]
    if origin is tuple:
        pairs = zip(_spread(parts, value), value, strict=True)
        return tuple(_made(part, item) for part, item in pairs)
    assert origin in (dict, Mapping)
    return {key: _made(parts[1], item) for key, item in value.items()}


@cache
def _taken_apart(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind), get_args(kind)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(kind: Any, value: Any) -> bool:
    return next(_problems(kind, value, ""), None) is None


def _is_plain(kind: Any, value: Any) -> bool:
    """Whether it is a number, a word, a boolean or None, as it is asked for."""
    if kind is Seed:
        return type(value) is int and 0 <= value < 2**64
    if kind in (int, float) and type(value) is int:
        return -LARGEST < value < LARGEST
    return kind in PLAIN and type(value) is (kind or NoneType)


def _has_length(parts: tuple[Any, ...], value: Sequence[Any]) -> bool:
    return parts[-1] is ... or len(parts) == len(value)


def _spread(parts: tuple[Any, ...], value: Sequence[Any]) -> Sequence[Any]:
    return [parts[0]] * len(value) if parts[-1] is ... else parts


def _must(kind: Any, value: Any, where: str) -> str:
    return f"{where} must be {_named(kind)}, got {seen(value)}"


def _named(kind: Any) -> str:
    origin, parts = _taken_apart(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_named, parts))
    if origin is tuple and parts[-1] is not ...:
        return f"a list of {len(parts)}"
    known = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        Seed: "a whole number in [0, 2^64)",
    }
    if kind in (NoneType, None):
        return "null"
    return known.get(kind, "a list" if origin in (list, tuple, Sequence) else "an object")


def seen(value: Any) -> str:
    """A parsed value as an error shows it, in a few characters."""
    if isinstance(value, str):
        return shown(value)
    if type(value) is int and not -LARGEST < value < LARGEST:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, (int, float)):
        return repr(value)
    return "an object" if isinstance(value, Mapping) else shown(str(value))


def _require_flat(value: Any, what: str) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise ArgumentError(f"no {what}: nested too deeply")


def _inside(value: Any) -> Iterator[Any]:
    """The lists and objects in one."""
    if isinstance(value, (list, dict)):
        items = value.values() if isinstance(value, dict) else value
        yield from (item for item in items if isinstance(item, (list, dict)))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ArgumentError(f"{shown(key)} is there twice")
        found[key] = value
    return found


def _no_number(word: str) -> NoReturn:
    raise ArgumentError(f"{word} is no number of JSON")
