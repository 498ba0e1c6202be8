"""Arguments: every one of the public API has a kind, takes what people mean by it, and refuses the
rest in one line that names it, at the call itself.

The rows are made from the signatures: a new argument whose annotation has no kind here fails.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.ir.calls import readers_of
from minidl.ir.readers import Reader
from tests.test_calls import CALLED, network

NAN, INF = math.nan, math.inf
MASKED = np.ma.masked_array(np.ones(3), [True, False, False])  # type: ignore[no-untyped-call]

REFUSED: dict[str, list[Any]] = {
    "flag": [0, 1.0, "yes", None, np.int64(1)],
    "whole": [1.0, 7.5, "1", True, None, NAN, INF, (1, 2), np.float64(2), 1j],
    "real": ["0.1", True, None, NAN, INF, -INF, 1e39, 10**400, (0.1,), 1j, np.float64(NAN)],
    "pair": [3.0, (3, 3, 3), (3,), "3", "33", True, (1.5, 1), (None, 1), NAN, (0, -1), ()],
    "size": [3.0, (3, 2.5), "3", True, (), (None, 3), (0, 3), NAN],
    "numbers": [0.9, (0.9,), (0.9, 0.9, 0.9), ("0.9", 0.9), (NAN, 0.9), None, "ab", (1e39, 1)],
    "constants": ["1", None, NAN, INF, (NAN, 1.0), ("1",), 1e39],
    "list of numbers": [1.0, "1", NAN, (NAN,), ("a",)],
    "whole list": [30, (30, 60.5), "30", None, (True,), (NAN,)],
    "image": [64, (64, 64), (64.0, 64, 3), "64", (0, 1, 1), None],
    "text": [5, None, b"a", ("a",)],
    "choice": [5, None, "no such", ("a",)],
    "path": [5, None, b"a", ("a",), 1.5],
    "array": [None, "x", 5, MASKED, np.array(["a"]), np.array([None]), [[1], [1, 2]]],
    "arrays": [None, "x", 5, {5: np.ones(1)}, {"a": MASKED}],
    "indices": [None, "x", 5, [0.5], [[0]], [True]],
    "mapping": [5, "x", [1]],
    "words": [5, None, (5,)],
    "iterable": [5, None, "abc"],
    "loader": [5, None, "abc", iter([1]), int],
    "object": [5, None, "no such", object, ("x",), NAN],
    "layers": [5, None, "x", [dl.ReLU()], dl.Linear],
    "callbacks": [5, None, "x", [5], dl.SGD],
    "function": [5, None, "normal", dl.ReLU],
    "bytes": [5, None, "x", [1]],
    "bytes or text": [1.5, True, "8 apples", -1, (1,)],
    "tuning": [5, (1,), True],
}
"""What each kind refuses."""

KINDS = {
    "Array": "array",
    "Broken": "choice",
    "Callable": "function",
    "Card": "object",
    "Constants": "constants",
    "Data": "loader",
    "Dataset": "object",
    "Ema": "object",
    "Feed | Iterable[Any]": "loader",
    "HeldOut": "object",
    "Initial": "function",
    "Iterable[Any]": "loader",
    "Iterable[Feed]": "iterable",
    "Iterable[str]": "words",
    "Iterable[tuple[Array, ...]]": "iterable",
    "Layer": "object",
    "Layer | Node": "layers",
    "Literal['none', 'tanh']": "choice",
    "Loss": "object",
    "Mapping[str, Any]": "mapping",
    "Mapping[str, Array]": "arrays",
    "Mapping[str, str]": "mapping",
    "ModelCard": "object",
    "Node": "object",
    "Node | Sequence[Node]": "object",
    "Numbers": "list of numbers",
    "Optimizer": "object",
    "Options": "object",
    "Path | Checkpoint": "path",
    "Policy": "choice",
    "Schedule": "object",
    "Sequence[Callback]": "callbacks",
    "Sequence[int] | Array": "indices",
    "Sequence[str]": "words",
    "Shape": "size",
    "Shape | int": "size",
    "Source": "object",
    "Splits": "object",
    "State": "object",
    "Step": "object",
    "Step | Mapping[str, Array]": "arrays",
    "Trained": "object",
    "Transform": "object",
    "bool": "flag",
    "bytes": "bytes",
    "dl.Step": "object",
    "float": "real",
    "int": "whole",
    "int | Pair": "pair",
    "int | Pair | Literal['same', 'valid']": "pair",
    'int | Pair | Literal["same", "valid"]': "pair",
    "int | str": "bytes or text",
    "str": "text",
    "str | Card": "object",
    "str | Device": "object",
    "str | Path": "path",
    "str | Path | Checkpoint": "path",
    "str | Path | TileTable": "tuning",
    "str | PathLike[str]": "path",
    "str | os.PathLike[str]": "path",
    "tuple[float, float]": "numbers",
    "tuple[int, ...]": "whole list",
    "tuple[int, int, int]": "image",
    "tuple[str, ...]": "words",
}
"""The kind of an argument by its annotation, but for None."""

WORDS = ("str | Card", "str | Device")
"""Annotations of which every text may be a name, which a table refuses."""

FREE = {"Predictor.how"}
"""What is given on as it is, to a function that reads it."""

Row = tuple[str, inspect.Parameter]


def rows() -> Iterator[Row]:
    for name, called in CALLED.items():
        for p in inspect.signature(called).parameters.values():
            if p.name not in ("self", "cls") and f"{name}.{p.name}" not in FREE:
                yield name, p


ROWS = list(rows())


def id_of(row: Row) -> str:
    return f"{row[0]}.{row[1].name}"


def kind_of(parameter: inspect.Parameter) -> str:
    return KINDS[str(parameter.annotation).removesuffix(" | None")]


def reader(row: Row) -> Reader:
    called: Any = CALLED[row[0]]
    return readers_of(getattr(called, "__func__", called))[row[1].name]


def wrong(row: Row) -> list[Any]:
    """What the argument refuses: values of its kind, but for what None and text mean there."""
    annotation, values = str(row[1].annotation), [object(), ..., *REFUSED[kind_of(row[1])]]
    if annotation.endswith("| None"):
        values = [v for v in values if v is not None]
    if annotation.removesuffix(" | None") in WORDS:
        values = [v for v in values if not isinstance(v, str)]
    if row[1].name == "clip_norm":
        values = [v for v in values if not (isinstance(v, float) and v == INF)]
    return values


def given(row: Row, value: Any) -> Callable[[], Any]:
    """A call with the value, and nothing right for whatever else is needed."""
    (name, p), called = row, CALLED[row[0]]
    if reader(row).late:
        if p.name == "batch":
            return lambda: dl.plan(network(), value)
        if name == "Options":
            return lambda: dl.plan(network(), 2, options=dl.Options(**{p.name: value}))
        return lambda: called(network(), 2, **{p.name: value})
    if p.kind is p.VAR_POSITIONAL:
        return lambda: called(value)
    own = list(inspect.signature(called).parameters.values())
    needed = {q.name: None for q in own if q.default is q.empty and q.kind is not q.VAR_KEYWORD}
    return lambda: called(**{**needed, p.name: value})


def test_every_argument_has_a_kind() -> None:
    assert [id_of(row) for row in ROWS if not isinstance(reader(row), Reader)] == []
    assert {kind_of(p) for _, p in ROWS} <= REFUSED.keys()
    assert len(ROWS) > 300


@pytest.mark.parametrize("row", ROWS, ids=id_of)
def test_what_is_refused_is_named(row: Row) -> None:
    for value in wrong(row):
        with pytest.raises((dl.ArgumentError, dl.ShapeError)) as caught:
            given(row, value)()
        said = str(caught.value)
        assert re.search(rf"\b{row[1].name}\b", said), (value, said)
        assert "\n" not in said


NUMBERS = {"whole": (np.int64, np.uint8, np.int32), "real": (np.float64, np.float32)}


@pytest.mark.parametrize("row", [row for row in ROWS if kind_of(row[1]) in NUMBERS], ids=id_of)
def test_numbers_of_numpy_are_taken(row: Row) -> None:
    for made in NUMBERS[kind_of(row[1])]:
        able = [made(v) for v in (0.5, 1, 2, 17, 32, 128) if made(v) == v or made is not float]
        taken = [v for v in able if v == int(v) or kind_of(row[1]) == "real"]
        read = []
        for value in taken:
            try:
                read.append((value, reader(row).take(value, "it")))
            except dl.ArgumentError:
                continue
        assert read
        for value, found in read:
            assert found == value
            assert type(found) is (int if kind_of(row[1]) == "whole" else float)


@pytest.mark.parametrize("row", [row for row in ROWS if kind_of(row[1]) == "flag"], ids=id_of)
def test_flags_of_numpy_are_taken(row: Row) -> None:
    assert reader(row).take(np.True_, "it") is True


@pytest.mark.parametrize(
    "row", [row for row in ROWS if kind_of(row[1]) in ("pair", "size")], ids=id_of
)
@pytest.mark.parametrize("made", [list, tuple, np.array])
def test_lists_and_arrays_are_tuples(row: Row, made: Callable[[list[int]], Any]) -> None:
    assert reader(row).take(made([3, 5]), "it") == (3, 5)
