"""From an argument's annotation to its reader, for what the annotation says all of."""

from __future__ import annotations

import inspect
from typing import Any

from minidl.ir.arrays import ARRAY, ARRAYS
from minidl.ir.readers import (
    ANYTHING,
    BYTES,
    FLAG,
    ITERABLE,
    MAPPING,
    PATH,
    PATHS,
    TEXT,
    WORDS,
    Reader,
    instance,
    optional,
    pair,
    real,
    several,
    whole,
)

READERS = {
    "Any": ANYTHING,
    "bool": FLAG,
    "int": whole(),
    "float": real(),
    "str": TEXT,
    "bytes": BYTES,
    "str | Path": PATH,
    "str | PathLike[str]": PATH,
    "str | os.PathLike[str]": PATH,
    "int | Pair": pair(1),
    "tuple[float, float]": several(real(), 2),
    "tuple[str, ...]": WORDS,
    "Array": ARRAY,
    "Mapping[str, Array]": ARRAYS,
    "Mapping[str, Any]": MAPPING,
    "Mapping[str, str]": MAPPING,
    "Iterable[str]": ITERABLE,
    "Iterable[str | Path]": PATHS,
    "Iterable[Any]": ITERABLE,
    "Iterable[tuple[Array, ...]]": ITERABLE,
}
"""What each text of an annotation takes."""


class NoReaderError(KeyError):
    """An argument of which nothing says what it takes: the name and the annotation."""


def reader_of(parameter: inspect.Parameter, function: Any) -> Reader:
    """How an argument is read: by its annotation's text, or by the class that it names."""
    text, spread = str(parameter.annotation), (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    plain = text.removesuffix(" | None")
    found = READERS.get(plain)
    if found is None:
        value: Any = function.__globals__
        first, *rest = plain.split(".")
        value = value.get(first)
        for name in rest:
            value = getattr(value, name, None)
        if not isinstance(value, type) or parameter.kind in spread:
            raise NoReaderError(f"{function.__qualname__}: {parameter}")
        found = instance(value)
    return optional(found) if plain != text else found
