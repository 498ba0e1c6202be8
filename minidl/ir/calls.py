"""What is said of a call that does not fit: one line, with what to write in the place of another
framework's habit."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import Any, TypeVar

from minidl.ir.annotations import reader_of
from minidl.ir.errors import ArgumentError
from minidl.ir.readers import Reader, SizeError, UnfitError, short

Called = TypeVar("Called", bound=Callable[..., object])

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


class CallError(ArgumentError, TypeError):
    """A call with too many arguments, with one that lacks, or with a name that there is not."""


def called(
    habit: str = "", readers: Mapping[str, Reader] | None = None, **words: str
) -> Callable[[Called], Called]:
    """A class or a function whose wrong calls are a `CallError` before anything of it runs, and
    whose arguments are read: what does not fit is an ArgumentError.

    habit: the hint where PyTorch's or Keras's order of arguments does not fit, or one lacks.
    readers: what arguments take where their annotation does not say it.
    words: other frameworks' keywords, each with its name here, or with what to do in its place; an
    empty one for what is not given here, since it is known.
    """

    def checked(what: Called) -> Called:
        target: Any = what
        is_class = isinstance(what, type)
        function: Any = target.__init__ if is_class else target
        signature = inspect.signature(function)
        is_method = next(iter(signature.parameters), "") in ("self", "cls")
        own = signature, int(is_method), habit, words

        @cache
        def known() -> dict[str, Reader]:
            names = list(signature.parameters.values())[int(is_method) :]
            declared = readers or {}
            return {p.name: declared.get(p.name) or reader_of(p, function) for p in names}

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            name = function.__qualname__ if is_method else function.__name__
            name = type(args[0]).__name__ if is_class else name
            bound = _bound(name, own, args, named)
            _read(name, bound.arguments, known())
            return function(*bound.args, **bound.kwargs)

        call.readers = known  # type: ignore[attr-defined]
        if not is_class:
            return call  # type: ignore[return-value]
        target.__init__ = call
        return what

    return checked


def readers_of(called: Any) -> dict[str, Reader]:
    """How each argument of a class or function is read, by its name."""
    function: Any = vars(called)["__init__"] if isinstance(called, type) else called
    found: dict[str, Reader] = function.readers()
    return found


def _read(name: str, arguments: dict[str, Any], readers: Mapping[str, Reader]) -> None:
    """Put what was meant in the place of what was given; ArgumentError says all that does not
    fit."""
    wrong: list[ArgumentError] = []
    for word, value in arguments.items():
        reader = readers.get(word)
        if reader is None or reader.late:
            continue
        try:
            arguments[word] = reader.read(value)
        except UnfitError as unfit:
            wrong.append(reader.error(unfit, value, word))
    if wrong:
        hints = dict.fromkeys(error.hint for error in wrong if error.hint)
        kind = SizeError if all(isinstance(error, SizeError) for error in wrong) else ArgumentError
        raise kind(f"{name}: {'; '.join(e.message for e in wrong)}", "; ".join(hints))


def _bound(
    name: str,
    own: tuple[inspect.Signature, int, str, Mapping[str, str]],
    args: tuple[Any, ...],
    named: Mapping[str, Any],
) -> inspect.BoundArguments:
    """The arguments by name; CallError unless the signature takes them. Of a method the first is
    `self`."""
    signature, skipped, habit, words = own
    try:
        return signature.bind(*args, **named)
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
            if " " in known:
                yield known
            else:
                yield f"write {known}= for {word}" if known else f"leave {word} out"
        elif near := difflib.get_close_matches(word, _names(own), 1):
            yield f"did you mean {near[0]}?"


def _choice(own: list[inspect.Parameter]) -> str:
    names = _names(own)
    return f"choose from {', '.join(names)}" if names else "leave them out"


def _shown(args: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """The call's arguments, short."""
    return ", ".join(
        [*map(short, args), *(f"{word}={short(value)}" for word, value in named.items())]
    )
