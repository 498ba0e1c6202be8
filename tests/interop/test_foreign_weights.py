"""What training scripts save, file by file: what is read of it, and the one line that says so."""

from __future__ import annotations

import argparse
import collections
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.interop import load_weights, read_weights
from minidl.ir import ArgumentError
from tests.interop.pickled import (
    archive,
    name,
    pickle_of,
    state_dict,
    storage,
    tensor,
    word,
    written,
)

NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")
SHAPES = ((3, 4), (3,), (2, 3), (2,))
"""Of two Linear layers."""


def network() -> dl.Step:
    net = dl.Sequential(dl.Input(4), dl.Linear(3), dl.ReLU(), dl.Linear(2))
    return dl.compile(net, 2, memory="naive")


def weights(prefix: str = "", value: int = 1, counted: bool = False, inside: str = "") -> bytes:
    """A state dict of these names, whose storages are full of `value`."""
    count = {"n_averaged": tensor(storage(f"n{value}", 1, "LongStorage"), (), ())}
    tensors = count if counted else {}
    for own, shape in zip(NAMES, SHAPES, strict=True):
        strides = (shape[1], 1) if len(shape) == 2 else (1,)
        layer, _, kind = own.partition(".")
        stored = storage(f"v{value}", 12)
        tensors[f"{prefix}{layer}.{inside}{kind}"] = tensor(stored, shape, strides)
    return state_dict(tensors)


def plain(value: Any) -> bytes:
    """What torch.save writes for data: protocol 2, without its beginning and its end."""
    return pickle.dumps(value, 2)[2:-1]


def saved(**items: bytes) -> bytes:
    return b"}" + b"".join(word(key) + item + b"s" for key, item in items.items())


ARGS = argparse.Namespace(lr=0.1, model="resnet18", output=Path("out"), milestones=[30, 60])
OPTIMIZER = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
SCHEDULE = {"milestones": collections.Counter([30, 60]), "last_epoch": 90}


@dataclass(frozen=True)
class Row:
    name: str
    pickled: bytes
    said: str = ""
    """What the one line has; nothing is said where it is empty."""
    value: int = 1
    """Of all that is loaded."""


ROWS = [
    Row("plain", weights()),
    Row("in a wrapper", saved(state_dict=weights())),
    Row(
        "torchvision's own training script",
        saved(
            model=weights(), optimizer=plain(OPTIMIZER), lr_scheduler=plain(SCHEDULE),
            epoch=plain(89), args=plain(ARGS), model_ema=weights("module.", 2, counted=True),
            scaler=plain({"scale": 65536.0}),
        ),
        "of its maps 'model' is taken, not 'optimizer', 'lr_scheduler', 'model_ema', 'scaler'",
    ),
    Row("a Namespace", saved(state_dict=weights(), args=plain(ARGS))),
    Row("a Namespace in a Namespace",
        saved(model=weights(), args=plain(argparse.Namespace(more=ARGS)))),
    Row("NumPy's float64", saved(state_dict=weights(), best=plain(np.float64(76.1)))),
    Row("NumPy's int64", saved(state_dict=weights(), epoch=plain(np.int64(3)))),
    Row("NumPy's bool", saved(state_dict=weights(), done=plain(np.bool_(True)))),
    Row("a path", saved(state_dict=weights(), folder=plain(Path("a/b")))),
    Row("bytes", saved(state_dict=weights(), commit=plain(b"\xff\x00"))),
    Row("a set", saved(state_dict=weights(), frozen=plain({1, 2}))),
    Row("a Counter", saved(state_dict=weights(), milestones=plain(SCHEDULE["milestones"]))),
    Row("DataParallel", weights("module."), "names are read without 'module.'"),
    Row("torch.compile", weights("_orig_mod."), "names are read without '_orig_mod.'"),
    Row("compiled, then DataParallel", weights("module._orig_mod."),
        "names are read without '_orig_mod.', 'module.'"),
    Row("DataParallel, then compiled", weights("_orig_mod.module."),
        "names are read without '_orig_mod.', 'module.'"),
    Row("compiled layers", weights(inside="_orig_mod."), "names are read without '_orig_mod.'"),
    Row("FSDP", weights("_fsdp_wrapped_module."),
        "names are read without '_fsdp_wrapped_module.'"),
    Row("Lightning", saved(
        epoch=plain(3), state_dict=weights("model."), more=plain({"lr": 0.1}),
    ), "of its maps 'state_dict' is taken, not 'more'; names are read without 'model.'"),
    Row("a prefix of one's own", weights("net.body."), "names are read without 'net.body.'"),
    Row("Lightning of a compiled model", weights("model._orig_mod."),
        "names are read without '_orig_mod.'; names are read without 'model.'"),
    Row("AveragedModel", weights("module.", 2, counted=True),
        "it is an average of models; names are read without 'module.'", 2),
    Row("averaged beside the last", saved(
        state_dict=weights(), state_dict_ema=weights(value=2), arch=plain("resnet"),
    ), "of its maps 'state_dict' is taken, not 'state_dict_ema'"),
    Row("the average alone", saved(model_ema=weights("module.", 2, counted=True), epoch=plain(3)),
        "it is an average of models; names are read without 'module.'", 2),
    Row("model and optimizer", saved(optimizer=plain(OPTIMIZER), model_state_dict=weights()),
        "of its maps 'model_state_dict' is taken, not 'optimizer'"),
]  # fmt: skip


def file_of(row: Row, folder: Path) -> Path:
    storages = {f"v{v}": np.full(12, v, "<f4").tobytes() for v in (1, 2)}
    return written(
        folder, archive(pickle_of(row.pickled), storages | {"n2": np.int64(5).tobytes()})
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_read(row: Row, tmp_path: Path) -> None:
    step, path = network(), file_of(row, tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        loaded = load_weights(step, path)
    assert set(loaded.taken) == set(NAMES)
    assert not loaded.kept
    assert not loaded.unused
    for own, shape in zip(NAMES, SHAPES, strict=True):
        np.testing.assert_array_equal(step.state_dict()[own], np.full(shape, row.value, "f4"))
    assert [str(w.message) for w in said] == ([f"{path}: {row.said}"] if row.said else [])
    assert all(w.filename == __file__ for w in said)


def test_two_that_would_fit_are_none(tmp_path: Path) -> None:
    """A student and a teacher: neither is guessed."""
    both = {}
    for prefix in ("student.", "teacher."):
        for own, shape in zip(NAMES, SHAPES, strict=True):
            strides = (shape[1], 1) if len(shape) == 2 else (1,)
            both[prefix + own] = tensor(storage("v1", 12), shape, strides)
    path = file_of(Row("both", state_dict(both)), tmp_path)
    with pytest.raises(ArgumentError, match=r"unknown student\.0\.bias"):
        load_weights(network(), path)


def test_a_prefix_is_not_guessed_without_a_network(tmp_path: Path) -> None:
    """`read_weights` takes off what wrappers put there, and what no module is called."""
    found = read_weights(file_of(Row("model.", weights("model.")), tmp_path))
    assert list(found) == [f"model.{own}" for own in NAMES]


EVIL = {
    "a Namespace of arguments": name("argparse", "Namespace") + word("x") + b"\x85\x81",
    "a Namespace that is called": name("argparse", "Namespace") + b")R",
    "a scalar as an object": name("numpy.core.multiarray", "scalar") + b")\x81",
    "an array": name("numpy.core.multiarray", "_reconstruct") + b")R",
    "another of argparse": name("argparse", "ArgumentParser") + b")\x81",
    "an object of no class": b"})\x81",
    "a class and a list": name("argparse", "Namespace") + b"]\x81",
    "another codec": name("codecs", "decode") + b")R",
}


@pytest.mark.parametrize("case", EVIL)
def test_what_is_still_refused(case: str, tmp_path: Path) -> None:
    path = file_of(Row(case, saved(state_dict=weights(), args=EVIL[case])), tmp_path)
    with pytest.raises(ArgumentError, match=r"weights\.pth: its pickle .*refused"):
        read_weights(path)


def test_a_namespace_in_the_place_of_a_tensor(tmp_path: Path) -> None:
    path = file_of(Row("args", saved(state_dict=saved(args=plain(ARGS)))), tmp_path)
    with pytest.raises(ArgumentError, match="'args' is no tensor"):
        read_weights(path)


def test_names_of_many_wrappers_are_bounded_work(tmp_path: Path) -> None:
    """Eight are taken off, whatever a file says."""
    path = file_of(Row("deep", weights("module." * 2000)), tmp_path)
    with pytest.warns(UserWarning, match=r"names are read without 'module\.'$"):
        found = read_weights(path)
    assert next(iter(found)) == "module." * 1992 + NAMES[0]
