"""Every setting of a step, once: keywords, flags, TOML, plan file, run record and docs follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from minidl.ir.calls import called
from minidl.ir.card import Card
from minidl.ir.errors import ArgumentError
from minidl.ir.readers import (
    COUNT,
    FLAG,
    ITERABLE,
    PATH,
    TEXT,
    WORDS,
    Reader,
    UnfitError,
    instance,
    late,
    optional,
    real,
    whole,
)
from minidl.ir.sizes import parse_size

ALIGNMENT = 256
"""Bytes. What CUDA's own allocator gives; vector loads and tensor maps need 16."""

SCRATCH_LIMIT = 32 * 2**20
"""Bytes of workspace that one op may plan."""

PRECISIONS = {
    "float32": "float32",
    "tf32": "float32",
    "bf16": "bfloat16",
    "float64": "float64",
}
"""The dtype of activations in each precision; weights and sums are never below float32. float64 is
for checking gradients on the CPU device, tf32 and bf16 are for CUDA's tensor cores."""


def require_precision(name: str) -> None:
    """ArgumentError names the ones there are."""
    if name not in PRECISIONS:
        raise ArgumentError(f"unknown precision {name!r}", f"choose from {', '.join(PRECISIONS)}")


TileTable = Mapping[str, tuple[str, int]]
"""Measured tiles of matrix products, by problem."""


@dataclass(frozen=True)
class About:
    """What is said of a setting beside its type and default."""

    help: str
    read: Callable[[str], Any] = str
    """From a flag's word to a value; ValueError or ArgumentError where it is none."""
    unit: str = ""
    """What stands for the value in help: SIZE, SHARE, N."""
    flag: str = ""
    """The flag's name where the keyword is another word."""
    group: str = "memory"
    """The heading under which the flag stands; empty: there is no flag."""
    file: bool = True
    """Whether the plan file has it."""
    takes: str = ""
    """The type of the keyword where it is wider than the field's."""
    reader: Reader = TEXT
    """How the keyword is read, together with all others when a step is planned."""


def option(
    default: Any,
    help: str,  # noqa: A002
    read: Callable[[str], Any] = str,
    hashed: bool = True,
    **more: Any,
) -> Any:
    """A field of `Options`; what a new one needs beside it: CONTRIBUTING.md, Add an option."""
    return field(
        default=default,
        hash=None if hashed else False,
        metadata={"about": About(help, read, **more)},
    )


def positive(word: str) -> int:
    """A whole number of at least 1."""
    value = int(word)
    if value < 1:
        raise ArgumentError(f"must be at least 1, got {value}")
    return value


def _bytes(value: Any) -> int:
    try:
        return parse_size(value) if isinstance(value, str) else BYTES.read(value)
    except ArgumentError as error:
        raise UnfitError(error.message, error.hint) from None


def _norm(value: Any) -> float:
    return math.inf if value == math.inf else NORM.read(value)


def _power(value: Any) -> int:
    size: int = LEAST.read(value)
    if size & (size - 1):
        raise UnfitError
    return size


def _words(value: Any) -> tuple[str, ...]:
    several = [value] if isinstance(value, str) else list(ITERABLE.read(value))
    words: tuple[str, ...] = WORDS.read(several)
    return words


def _tuning(value: Any) -> Any:
    return value if isinstance(value, Mapping) else PATH.read(value)


BYTES, NORM, LEAST = whole(1), real(0, above=True), whole(16)
PASSES = Reader("names of passes", _words)
POWER = Reader("a power of two of at least 16", _power)
SIZE = Reader("a number of bytes, at least 1, or text such as '8GiB'", _bytes)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a step is made, of whatever network, batch and image.

    recompute: 0.01 for 1 %; None: only ops as cheap as an elementwise pass run again, and they may
    with every other share, too, but 0: none does.
    budget: bytes, or "8GiB"; BudgetError if no plan that was found fits.
    prefetch: the next batch has bytes of its own, so that with `Step.feed` it is copied meanwhile.
    clip_norm: g = g min(1, clip_norm / (|g| + 1e-6)), |g| = sqrt(sum of squares of all weight
    gradients together), before the update takes them.
    accumulate: calls that make one update, with the mean of their gradients. The plan is that of
    the last of them, its bytes are what the larger of both kinds of call needs.

    Names of devices, memory modes and passes, and what does not go together, are checked by who
    knows them when a step is planned: see `minidl.front`.
    """

    precision: str = option(
        "float32",
        "tf32, bf16: tensor cores, on cuda",
        group="device",
    )
    device: str = option("cpu", "cuda: an NVIDIA GPU", group="device")
    card: Card | None = option(
        None, "the GPU that is planned for", group="", reader=optional(instance(Card))
    )
    memory: str = option("arena", "memory mode")
    alignment: int = option(
        ALIGNMENT, "bytes that every tensor's offset is a multiple of", int, unit="N", reader=POWER
    )
    disable_passes: tuple[str, ...] = option(
        (), "passes of the compiler to leave out", unit="PASS", takes="Iterable[str]", reader=PASSES
    )
    recompute: float | None = option(
        None,
        "share of the step's operations that running forward ops again may take: 0.01 for 1 %; by "
        "default only ops as cheap as an elementwise pass run again",
        float,
        unit="SHARE",
        reader=optional(
            replace(real(0, 1), what="a share of the step's operations in [0, 1], 0.01 for 1 %")
        ),
    )
    budget: int | None = option(
        None,
        "fit into it, at the least extra work",
        parse_size,
        unit="SIZE",
        takes="int | str | None",
        reader=optional(SIZE),
    )
    slices: int = option(
        1,
        "parts of the batch that the first layers run on one after the other",
        positive,
        unit="N",
        reader=whole(),
    )
    prefetch: bool = option(
        False, "copy the next batch to the GPU while a step runs; on cuda", reader=FLAG
    )
    clip_norm: float | None = option(
        None,
        "clip all weight gradients by their norm together; the plan says what that costs",
        float,
        unit="NORM",
        flag="clip-grad-norm",
        reader=optional(Reader("positive", _norm)),
    )
    accumulate: int = option(
        1,
        "steps that make one update, with the mean of their gradients",
        positive,
        unit="N",
        reader=replace(COUNT, what="a number of calls, at least 1"),
    )
    scratch_limit: int = option(
        SCRATCH_LIMIT,
        "most workspace that one op may plan",
        parse_size,
        unit="SIZE",
        flag="scratch",
        group="device",
        reader=replace(COUNT, what="a number of bytes, at least 1"),
        file=False,
    )
    tuning: str | Path | TileTable | None = option(
        None,
        "measured tiles of matrix products on cuda, JSON",
        unit="FILE",
        group="device",
        file=False,
        hashed=False,
        reader=optional(Reader("the path of a tuning file, or its rows", _tuning)),
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            with suppress(UnfitError):
                object.__setattr__(self, f.name, about(f).reader.read(getattr(self, f.name)))

    def wrong(self) -> dict[str, ArgumentError]:
        """What is wrong with each value on its own, by its name."""
        found = {}
        for f in fields(self):
            value, reader = getattr(self, f.name), about(f).reader
            try:
                reader.read(value)
            except UnfitError as unfit:
                found[f.name] = reader.error(unfit, value, f.name)
        return found

    @property
    def spends_work(self) -> bool:
        """Whether ops may run again for fewer bytes, as far as was asked for."""
        return self.recompute is not None or self.budget is not None

    @property
    def tiles(self) -> Mapping[str, tuple[str, int]] | None:
        """Measured tiles of products, once their file is read."""
        return self.tuning if isinstance(self.tuning, Mapping) else None

    @property
    def dtype(self) -> str:
        """Of activations."""
        return PRECISIONS[self.precision]


def about(setting: Field[Any]) -> About:
    """What is said of a field of `Options`."""
    found: About = setting.metadata["about"]
    return found


def settings_readers() -> dict[str, Reader]:
    """How the keywords are read, all of them when a step is planned."""
    return {f.name: late(about(f).reader) for f in fields(Options)}


called(readers=settings_readers())(Options)

RENAMED = {
    "without": "disable_passes",
    "clip_grad_norm": "clip_norm",
    "scratch": "scratch_limit",
}
"""Words of version 0.1.0, in TOML files and records of runs, and what they are now."""


def flag_of(setting: Field[Any]) -> str:
    """The flag of a field of `Options`."""
    return "--" + (about(setting).flag or setting.name).replace("_", "-")


def written(options: Options) -> dict[str, Any]:
    """What the plan file says of the options, by name."""
    return {f.name: getattr(options, f.name) for f in fields(options) if about(f).file}
