"""Kinds of arguments: one reader for each, which takes what people mean and refuses the rest.

NumPy's scalars, and whatever else is of shape (), are numbers; lists and 1-d arrays are tuples; a
class stands for an instance of it. True is no number, 3.0 no count, and infinity and NaN no rate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from minidl.ir.errors import ArgumentError, ShapeError
from minidl.ir.numbers import SEEDS
from minidl.ir.printed import in_words

LARGE = 3.4028234663852886e38
"""Where float32 ends."""


class UnfitError(Exception):
    """A value that is not of a kind; what is wrong and the way out, where more is to be said."""

    def __init__(self, said: str = "", hint: str = "") -> None:
        super().__init__(said)
        self.said, self.hint = said, hint


class SizeError(ShapeError, ArgumentError):
    """A size that is none."""


def short(value: object) -> str:
    """A value, or the name of its class where it takes more room than a line has."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = in_words(value)
    return f"a {type(value).__name__}" if "\n" in text or len(text) > 40 else text


@dataclass(frozen=True)
class Reader:
    """How one kind of argument is read."""

    what: str
    """Behind "must be": what would do."""
    read: Callable[[Any], Any]
    """The value as minidl has it; UnfitError where it is none."""
    hint: str = ""
    size: bool = False
    """Whether it is a size, of which a wrong one is a ShapeError too."""
    late: bool = False
    """Whether the function itself reads it, together with what depends on it."""

    def take(self, value: Any, name: str) -> Any:
        """The value as minidl has it; ArgumentError that names it where it is none."""
        try:
            return self.read(value)
        except UnfitError as unfit:
            raise self.error(unfit, value, name) from None

    def error(self, unfit: UnfitError, value: Any, name: str) -> ArgumentError:
        """What is said of a value that does not fit."""
        said = f"{name}: {unfit.said}" if unfit.said else ""
        kind = SizeError if self.size else ArgumentError
        return kind(
            said or f"{name} must be {self.what}, got {short(value)}", unfit.hint or self.hint
        )


def scalar(value: Any) -> Any:
    """What has the shape () as Python has it."""
    plain = getattr(value, "item", None)
    return plain() if callable(plain) and getattr(value, "shape", None) == () else value


def listed(value: Any) -> tuple[Any, ...]:
    """The elements of a tuple, a list or a 1-d array."""
    shape = getattr(value, "shape", None)
    if isinstance(value, (tuple, list)):
        return tuple(map(scalar, value))
    if isinstance(shape, tuple) and len(shape) == 1 and hasattr(value, "tolist"):
        return tuple(value.tolist())
    raise UnfitError


def _whole(value: Any, least: float, most: float) -> int:
    value = scalar(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UnfitError
    number = int(value)
    if not least <= number <= most:
        raise UnfitError
    return number


def _real(value: Any, least: float, most: float, inside: Callable[[Any], bool]) -> Any:
    """An int or a float as it is."""
    value = scalar(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UnfitError
    number = value if isinstance(value, (int, float)) else float(value)
    if LARGE < abs(number) < float("inf"):
        raise UnfitError(f"{short(value)} is beyond float32, which ends at 3.4e+38")
    if not -LARGE <= number <= LARGE or not least <= number <= most or not inside(number):
        raise UnfitError
    return number


def whole(
    least: float = -float("inf"), most: float = float("inf"), size: bool = False, hint: str = ""
) -> Reader:
    """A whole number in [least, most]."""
    words = "a whole number"
    if most < float("inf"):
        words += f" in [{least}, {most}]"
    elif least > -float("inf"):
        words += f" of at least {least}"
    return Reader(words, lambda value: _whole(value, least, most), hint, size)


def real(
    least: float = -LARGE, most: float = LARGE, *, above: bool = False, below: bool = False
) -> Reader:
    """A finite number in [least, most], without `least` if above, without `most` if below."""
    words = "a finite number"
    if most < LARGE:
        words = f"a number in {'[('[above]}{least:g}, {most:g}{'])'[below]}"
    elif least > -LARGE:
        words += " and positive" if above else f" of at least {least:g}"

    def inside(value: Any) -> bool:
        return not (above and value <= least) and not (below and value >= most)

    return Reader(words, lambda value: _real(value, least, most, inside))


def pair(least: int, size: bool = True) -> Reader:
    """A whole number, or one for the height and one for the width, each of at least `least`."""

    def read(value: Any) -> Any:
        one = scalar(value)
        if isinstance(one, Integral):
            return _whole(one, least, float("inf"))
        both = listed(value)
        if len(both) != 2:
            raise UnfitError
        return tuple(_whole(each, least, float("inf")) for each in both)

    return Reader(f"a whole number or two, at least {least}", read, size=size)


def several(kind: Reader, count: int | None = None, hint: str = "") -> Reader:
    """A tuple of what is of a kind, of any number or of `count`."""

    def read(value: Any) -> Any:
        items = listed(value)
        if count is not None and len(items) != count:
            raise UnfitError
        return tuple(map(kind.read, items))

    number = "a list" if count is None else {2: "two", 3: "three"}[count]
    plain = kind.what.removeprefix("a ")
    words = f"{number}, each {kind.what}" if count is None else f"{number}, each a {plain}"
    return Reader(words, read, hint or kind.hint, kind.size)


def either(*readers: Reader) -> Reader:
    """What is of one of some kinds."""

    def read(value: Any) -> Any:
        said = UnfitError()
        for kind in readers:
            try:
                return kind.read(value)
            except UnfitError as unfit:
                said = unfit if unfit.said else said
        raise said

    hint = next((kind.hint for kind in readers if kind.hint), "")
    size = any(kind.size for kind in readers)
    return Reader(" or ".join(kind.what for kind in readers), read, hint, size)


def optional(kind: Reader) -> Reader:
    """None, or what is of a kind."""

    def read(value: Any) -> Any:
        return None if value is None else kind.read(value)

    return replace(kind, what=f"{kind.what}, or None", read=read)


def late(kind: Reader) -> Reader:
    """A kind that the function reads itself."""
    return replace(kind, late=True)


def choice(names: Iterable[str]) -> Reader:
    """One of some words."""
    allowed = tuple(names)

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise UnfitError
        return str(value)

    return Reader(f"one of {', '.join(map(repr, allowed))}", read)


def instance(
    kind: type, names: Mapping[str, Callable[[], Any]] | None = None, hint: str = ""
) -> Reader:
    """An instance of a class, a class below it that needs no argument, or one of some names."""
    named = names or {}

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if isinstance(value, str) and (key := _plain(value)) in named:
            return named[key]()
        if isinstance(value, type) and issubclass(value, kind):
            return _made(value)
        raise UnfitError

    article = "an" if kind.__name__[0] in "AEIO" else "a"
    words = f"{article} {kind.__name__}"
    return Reader(
        words + (f" or one of {', '.join(map(repr, named))}" if named else ""), read, hint
    )


def subclass(kind: type) -> Reader:
    """A class below one, not an instance of it."""

    def read(value: Any) -> Any:
        if not isinstance(value, type) or not issubclass(value, kind):
            raise UnfitError
        return value

    return Reader(f"a class of {kind.__name__}", read)


def by_name(each: Reader) -> Reader:
    """A mapping from texts to what `each` reads."""

    def read(value: Any) -> Any:
        return {_text(name): each.read(v) for name, v in _mapping(value).items()}

    return Reader(f"a mapping from text to {each.what}", read)


def having(what: str, *attributes: str, hint: str = "") -> Reader:
    """An object that has some attributes, of whatever class; no class itself."""

    def read(value: Any) -> Any:
        if isinstance(value, type) or not all(hasattr(value, name) for name in attributes):
            raise UnfitError
        return value

    return Reader(what, read, hint)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _made(kind: type) -> Any:
    try:
        return kind()
    except (TypeError, ValueError):
        raise UnfitError from None


def _flag(value: Any) -> bool:
    value = scalar(value)
    if not isinstance(value, bool):
        raise UnfitError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitError
    return str(value)


def _path(value: Any) -> Any:
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise UnfitError
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise UnfitError
    return value


def _iterable(value: Any) -> Any:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise UnfitError
    return value


def _paths(value: Any) -> Any:
    return (_path(value),) if isinstance(value, (str, os.PathLike)) else _iterable(value)


def _function(value: Any) -> Any:
    if isinstance(value, type) or not callable(value):
        raise UnfitError
    return value


def _bytes(value: Any) -> Any:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise UnfitError
    return value


FLAG = Reader("True or False", _flag)
TEXT = Reader("text", _text)
PATH = Reader("a path", _path)
MAPPING = Reader("a mapping", _mapping)
ITERABLE = Reader("an iterable", _iterable)
PATHS = Reader("a path, or an iterable of paths", _paths)
FUNCTION = Reader("a function", _function)
BYTES = Reader("bytes", _bytes)
ANYTHING = Reader("anything", lambda value: value)
SEED = replace(whole(0, SEEDS - 1), what="a whole number in [0, 2^64)")
COUNT = whole(1)
SHARE = real(0, 1)
NUMBERS = several(real())
WORDS = several(TEXT)
SIZES = several(whole(1, size=True))


def _shape(value: Any) -> tuple[int, ...]:
    one = scalar(value)
    sizes = (one,) if isinstance(one, Integral) else listed(value)
    if not sizes:
        raise UnfitError
    return tuple(_whole(size, 1, float("inf")) for size in sizes)


SHAPE = Reader("one or more whole numbers of at least 1", _shape, size=True)

MEAN = replace(either(real(), several(real())), what="a finite number, or one for each channel")
STD = replace(
    either(real(0, above=True), several(real(0, above=True))),
    what="a positive number, or one for each channel",
)
"""One number for all channels, or one each."""
