"""Keywords of functions that take the settings of a step: made from `minidl.options.Options`.

`Settings` is for editors and mypy; `python -m docs.make` writes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from minidl.options import Options, TileTable, about

Function = TypeVar("Function", bound=Callable[..., object])


OWN = ("device", "card")
"""Settings that a function takes in a wider sense, or not at all."""


def with_keywords(options: type[Options]) -> Callable[[Function], Function]:
    """Give a function that takes `**settings` the signature and the documentation of each."""

    def changed(function: Function) -> Function:
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        left = {*OWN, *(p.name for p in named)}
        settings = [f for f in fields(options) if f.name not in left]
        more = [_parameter(f) for f in settings]
        function.__signature__ = own.replace(parameters=[*named, *more])  # type: ignore[attr-defined]
        lines = "".join(f"\n    {f.name}: {about(f).help}." for f in settings)
        function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n{lines}\n    "
        return function

    return changed


def _parameter(setting: Field[Any]) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    how: dict[str, Any] = {"default": setting.default, "annotation": type_of(setting)}
    return inspect.Parameter(setting.name, kind, **how)


def type_of(setting: Field[Any]) -> str:
    """What a keyword takes, as source text."""
    return about(setting).takes or str(setting.type)


def settings_text(options: type[Options], but: Iterable[str] = OWN) -> str:
    """The lines of `Settings`."""
    return "".join(f"    {f.name}: {type_of(f)}\n" for f in fields(options) if f.name not in but)


# -- made by python -m docs.make -------------------------------------------------------------------


class Settings(TypedDict, total=False):
    """Every setting that is a keyword as it is; where a step runs is each function's own."""

    precision: str
    memory: str
    alignment: int
    disable_passes: Iterable[str]
    recompute: float | None
    budget: int | str | None
    slices: int
    prefetch: bool
    clip_norm: float | None
    accumulate: int
    scratch_limit: int
    tuning: str | Path | TileTable | None
