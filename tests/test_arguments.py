"""Arguments: every one of the public API has a kind, takes what people mean by it, and refuses the
rest in one line that names it, at the call itself.

The rows are made from the signatures: a new argument whose annotation has no kind here fails.
"""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import train
from minidl.ir.calls import readers_of
from minidl.ir.readers import Reader
from minidl.ops.cuda.product import Problem, choose
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
    "paths": [5, None, b"abc", 1.5],
    "loader": [5, None, "abc", iter([1]), int],
    "object": [5, None, "no such", object, ("x",), NAN],
    "layers": [5, None, "x", [dl.ReLU()], dl.Linear],
    "class": [5, None, "x", dl.ReLU(), dl.SGD, int],
    "functions by name": [5, "x", {"a": 5}, {5: len}, [len]],
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
    "Iterable[str | Path]": "paths",
    "Iterable[tuple[Array, ...]]": "iterable",
    "Layer": "object",
    "Layer | Node": "layers",
    "Literal['none', 'tanh']": "choice",
    "Loss": "object",
    "Mapping[str, Any]": "mapping",
    "Mapping[str, Operator]": "functions by name",
    "Mapping[str, Array]": "arrays",
    "Mapping[str, str]": "mapping",
    "ModelCard": "object",
    "Node": "object",
    "Node | Sequence[Node]": "object",
    "Numbers": "list of numbers",
    "Optimizer": "object",
    "Options": "object",
    "Path | Checkpoint": "path",
    "Progress": "function",
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
    "Which": "choice",
    "bool": "flag",
    "bool | str": "flag",
    "bytes": "bytes",
    "Translation": "function",
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
    "type[Layer]": "class",
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
    if parameter.name == "budget":
        return "bytes or text"
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


# -- what is meant ---------------------------------------------------------------------------------


def step(**how: Any) -> dl.Step:
    return dl.compile(network(), 3, **how)


MEANT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "optimizer='adam'": (lambda: step(optimizer="adam").plan.recipe.optimizer, dl.Adam),
    "optimizer='AdamW'": (lambda: step(optimizer="AdamW").plan.recipe.optimizer, dl.AdamW),
    "optimizer='sgd'": (lambda: step(optimizer="sgd").plan.recipe.optimizer, dl.SGD),
    "optimizer=Adam": (lambda: step(optimizer=dl.Adam).plan.recipe.optimizer, dl.Adam),
    "loss='mse'": (lambda: type(dl.plan(network(), 2, loss="mse").recipe.loss), lambda: dl.MSE),  # type: ignore[arg-type]
    "loss='cross_entropy'": (
        lambda: type(dl.plan(network(), 2, loss="cross_entropy").recipe.loss),  # type: ignore[arg-type]
        lambda: dl.CrossEntropy,
    ),
    "loss=MSE": (
        lambda: type(dl.plan(network(), 2, loss=dl.MSE).recipe.loss),  # type: ignore[arg-type]
        lambda: dl.MSE,
    ),
    "Sequential(ReLU)": (
        lambda: type(dl.Sequential(dl.Input(2), dl.ReLU).children["0"]),  # type: ignore[arg-type]
        lambda: dl.ReLU,
    ),
    "Warmup(Cosine)": (
        lambda: train.Warmup(train.Cosine),  # type: ignore[arg-type]
        lambda: train.Warmup(train.Cosine()),
    ),
    "schedule='cosine'": (
        lambda: train.Trainer(step(), schedule="cosine", quiet=True).schedule,  # type: ignore[arg-type]
        train.Cosine,
    ),
    "Conv2d(4, 3, padding='same')": (
        lambda: dl.Conv2d(4, 3, padding="same").window,
        lambda: dl.Conv2d(4, 3, padding=1).window,
    ),
    "Conv2d(4, (5, 3), dilation=2, padding='same')": (
        lambda: dl.Conv2d(4, (5, 3), dilation=2, padding="same").window,
        lambda: dl.Conv2d(4, (5, 3), dilation=2, padding=(4, 2)).window,
    ),
    "Conv2d(4, 3, padding='valid')": (
        lambda: dl.Conv2d(4, 3, padding="valid").window,
        lambda: dl.Conv2d(4, 3).window,
    ),
    "Adam(betas=[0.8, 0.9])": (
        lambda: dl.Adam(betas=[0.8, 0.9]),  # type: ignore[arg-type]
        lambda: dl.Adam(betas=(0.8, 0.9)),
    ),
    "MultiStep([1, 2])": (
        lambda: train.MultiStep([1, 2]),  # type: ignore[arg-type]
        lambda: train.MultiStep((1, 2)),
    ),
    "Normalize([...])": (
        lambda: dl.Normalize([1.0, 2.0], np.array([3.0, 4.0])).std,  # type: ignore[arg-type]
        lambda: (3.0, 4.0),
    ),
    "Input(np.int64)": (lambda: dl.Input(np.int64(3)).shape, lambda: (3,)),  # type: ignore[arg-type]
    "Input(dtype=np.uint8)": (
        lambda: dl.Input((2, 2, 3), dtype=np.uint8).dtype,  # type: ignore[arg-type]
        lambda: "uint8",
    ),
    "callbacks=EarlyStopping": (
        lambda: [
            type(c)
            for c in train.Trainer(step(), callbacks=train.EarlyStopping, quiet=True).callbacks  # type: ignore[arg-type]
        ],
        lambda: [train.EarlyStopping],
    ),
}
"""What is given, and what is meant by it."""


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant_is_taken(name: str) -> None:
    made, meant = MEANT[name]
    assert made() == meant()


class Tensor:
    """As a tensor of PyTorch behaves: a parameter has to be detached, bfloat16 widened."""

    def __init__(self, array: Any, grad: bool = False, dtype: str = "torch.float32") -> None:
        self.values, self.grad, self.dtype = np.asarray(array), grad, dtype
        self.shape = self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: Any) -> Tensor:
        return Tensor(self.values[at], self.grad, self.dtype)

    def detach(self) -> Tensor:
        return Tensor(self.values, False, self.dtype)

    def float(self) -> Tensor:
        return Tensor(self.values, self.grad)

    def __array__(self, *_: Any, **__: Any) -> Any:
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


ARRAYS: dict[str, Callable[[Any], Any]] = {
    "parameter": lambda a: Tensor(a, grad=True),
    "bfloat16": lambda a: Tensor(a, dtype="torch.bfloat16"),
    "bfloat16 parameter": lambda a: Tensor(a, True, "torch.bfloat16"),
    "list": lambda a: a.tolist(),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "read-only": lambda a: read_only(a.copy()),
}
"""Arrays of the same numbers."""


@pytest.mark.parametrize("made", ARRAYS.values(), ids=ARRAYS)
def test_arrays_of_all_sorts_train_to_the_same_bits(made: Callable[[Any], Any]) -> None:
    images = np.arange(9, dtype=np.float32).reshape(3, 3)
    labels = np.array([0, 1, 0])
    one, other = step(), step()
    weights = {name: made(array) for name, array in one.state_dict().items()}
    other.load_state_dict(weights)
    assert one(images, labels) == other(made(images), labels)
    for name, array in one.state_dict().items():
        assert np.array_equal(array, other.state_dict()[name])
    assert np.array_equal(one.predict(images), other.predict(made(images)))
    assert train.evaluate(one, images, labels) == train.evaluate(other, made(images), labels)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "(N,) for regression": (
        lambda: dl.compile(dl.Sequential(dl.Input(2), dl.Linear(1)), 3, loss=dl.MSE())(
            np.ones((3, 2)), np.ones(3)
        ),
        r"target: .*got \(3,\): write target\[:, None\]",
    ),
    "fit(None)": (lambda: train.Trainer(step(), quiet=True).fit(None), "train must be a loader"),  # type: ignore[arg-type]
    "an iterable of no length": (
        lambda: train.Trainer(step(), quiet=True).fit(Endless()),
        "nobody knows how many batches",
    ),
    "Dropout alone": (
        lambda: dl.compile(dl.Sequential(dl.Input(2), dl.Dropout()), 2),
        "nothing to compute in a prediction: its output is its input: add a layer",
    ),
    "a plan of Dropout alone": (
        lambda: dl.plan(dl.Sequential(dl.Input(2), dl.Dropout()), 2),
        "nothing to compute in a prediction: its output is its input: add a layer",
    ),
    "a plan of Flatten alone": (
        lambda: dl.plan(dl.Sequential(dl.Input((2, 2, 1)), dl.Flatten()), 2),
        "nothing to compute in a prediction: its output is its input: add a layer",
    ),
    "ragged": (lambda: step().predict([[1], [1, 2]]), "input: a list is no array of numbers"),  # type: ignore[list-item]
    "None": (lambda: step()(None, None), "input: .*got"),  # type: ignore[arg-type]
    "masked": (lambda: step().predict(MASKED), "input: 1 masked elements"),
    "feed(None)": (lambda: list(step().feed(None)), "batches must be an iterable"),  # type: ignore[arg-type]
    "array([])": (lambda: step().array([]), "no variable"),  # type: ignore[arg-type]
    "load_state_dict(None)": (lambda: step().load_state_dict(None), "arrays must be arrays by"),  # type: ignore[arg-type]
    "labels that lack": (
        lambda: train.evaluate(step(), np.ones((4, 3)), np.zeros(3, int)),
        "4 and 3 do not fit",
    ),
    "several": (
        lambda: dl.Conv2d(3.0, "x", bias=None),  # type: ignore[arg-type]
        "features must be .*; kernel must be .*; bias must be",
    ),
}


class Endless:
    """As PyTorch's loader of an IterableDataset: `len` is there, and fails."""

    def __iter__(self) -> Iterator[Any]:
        yield np.ones((3, 3)), np.zeros(3, int)

    def __len__(self) -> int:
        raise TypeError("object of type 'IterableDataset' has no len()")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises((dl.ArgumentError, dl.ShapeError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_batch_that_was_refused_leaves_nothing_behind() -> None:
    """Even a product of another size is refused, and no cache takes 7.0 for 7."""
    with pytest.raises(dl.ArgumentError, match="m must be a whole number"):
        Problem("simt", 7.0, 2, 3)  # type: ignore[arg-type]
    with pytest.raises(dl.ArgumentError, match="batch must be"):
        dl.plan(network(), 7.0, gpu="h100")  # type: ignore[arg-type]
    with pytest.raises(dl.ArgumentError, match="scratch_limit must be"):
        dl.plan(network(), 7, gpu="h100", scratch_limit=2.0**25)  # type: ignore[arg-type]
    found = choose(Problem("simt", 7, 2, 3), 2**25, True, None)
    assert type(found.scratch) is int
    assert dl.plan(network(), 7, gpu="h100").batch == 7


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_deep_network_is_copied(copied: Callable[[dl.Network], dl.Network]) -> None:
    x = y = dl.Input(2)
    for _ in range(2000):
        y = dl.Tanh()(y)
    deep = dl.Network(x, dl.Add()(y, x, name="sum"), name="deep")
    made = copied(deep)
    assert len(made.nodes) == len(deep.nodes) == 2002
    assert [n.name for n in made.nodes] == [n.name for n in deep.nodes]
    assert made.output.inputs[1] is made.inputs[0]
    assert not {*map(id, made.nodes)} & {*map(id, deep.nodes)}
    assert made.name == "deep"
