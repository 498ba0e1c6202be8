"""What is said of a call that does not fit: one line, with what to write in the place of another
framework's habit."""

from __future__ import annotations

import difflib
import inspect
import reprlib
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, TypeVar

from minidl.ir.errors import ArgumentError

Called = TypeVar("Called", bound=Callable[..., object])

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


class CallError(ArgumentError, TypeError):
    """A call with too many arguments, with one that lacks, or with a name that there is not."""


def called(habit: str = "", **words: str) -> Callable[[Called], Called]:
    """A class or a function whose wrong calls are a `CallError` before anything of it runs.

    habit: the hint where PyTorch's or Keras's order of arguments does not fit, or one lacks.
    words: other frameworks' keywords, each with its name here; an empty one for what is not given
    here, since it is known.
    """

    def checked(what: Called) -> Called:
        target: Any = what
        is_class = isinstance(what, type)
        function: Any = target.__init__ if is_class else target
        signature = inspect.signature(function)
        is_method = next(iter(signature.parameters), "") in ("self", "cls")
        own = signature, int(is_method), habit, words

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            name = function.__qualname__ if is_method else function.__name__
            _require(type(args[0]).__name__ if is_class else name, own, args, named)
            return function(*args, **named)

        if not is_class:
            return call  # type: ignore[return-value]
        target.__init__ = call
        return what

    return checked


def _require(
    name: str,
    own: tuple[inspect.Signature, int, str, Mapping[str, str]],
    args: tuple[Any, ...],
    named: Mapping[str, Any],
) -> None:
    """CallError unless the signature takes the arguments; of a method the first is `self`."""
    signature, skipped, habit, words = own
    try:
        signature.bind(*args, **named)
    except TypeError:
        takes, given = list(signature.parameters.values())[skipped:], args[skipped:]
        hints = [*_renamed(takes, named, words)]
        if not hints or any(hint.startswith("leave") for hint in hints):
            hints.append(habit or _choice(takes))
        wrong = "; ".join(_wrong(takes, len(given), named))
        raise CallError(f"{name}({_shown(given, named)}): {wrong}", "; ".join(hints)) from None


def _wrong(own: list[inspect.Parameter], count: int, named: Mapping[str, Any]) -> Iterator[str]:
    """All that does not fit."""
    places = [p.name for p in own if p.kind is POSITIONAL]
    if count > len(places) and not any(p.kind is p.VAR_POSITIONAL for p in own):
        most = f"{len(places)} ({', '.join(places)})" if places else "none"
        yield f"{count} positional, and it takes {most}"
    filled = places[:count]
    for word in named:
        if word in filled:
            yield f"{word} is given twice"
        elif word not in _names(own):
            yield f"it has no {word}"
    for p in own:
        needed = p.default is p.empty and p.kind in (POSITIONAL, p.KEYWORD_ONLY)
        if needed and p.name not in filled and p.name not in named:
            yield f"{p.name} lacks"


def _names(own: list[inspect.Parameter]) -> list[str]:
    return [p.name for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _renamed(
    own: list[inspect.Parameter], named: Mapping[str, Any], words: Mapping[str, str]
) -> Iterator[str]:
    """What to write for names that there are not."""
    for word in named:
        if word in _names(own):
            continue
        if word in words:
            known = words[word]
            yield f"write {known}= for {word}" if known else f"leave {word} out"
        elif near := difflib.get_close_matches(word, _names(own), 1):
            yield f"did you mean {near[0]}?"


def _choice(own: list[inspect.Parameter]) -> str:
    names = _names(own)
    return f"choose from {', '.join(names)}" if names else "leave them out"


def _shown(args: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """The call's arguments, short."""
    return ", ".join(
        [*map(_short, args), *(f"{word}={_short(value)}" for word, value in named.items())]
    )


def _short(value: object) -> str:
    """A value, or the name of its class where it takes more room than a line has."""
    text = reprlib.repr(value)
    return type(value).__name__ if "\n" in text or len(text) > 40 else text
