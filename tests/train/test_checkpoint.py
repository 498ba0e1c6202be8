"""Checkpoints: exact, whole or absent, and refused where a bit is wrong."""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.files.atomic import unfinished
from minidl.ir import ArgumentError, CheckpointError
from minidl.train import State, checkpoint, checkpoint_file, latest, load, save
from tests.train.small import BATCH, CLASSES, IMAGE, compiled
from tests.training import random_batches, state_bits

DATA = random_batches(np.random.default_rng(7), BATCH, IMAGE, CLASSES, 8)
OPTIMIZERS = [dl.SGD(0.05, 0.9), dl.AdamW(0.01), dl.SGD(0.1)]


def trained(steps: int, **how: object) -> dl.Step:
    step = compiled(**how)  # type: ignore[arg-type]
    for batch in DATA[:steps]:
        step(*batch)
    return step


def saved(folder: Path, steps: int = 3) -> Path:
    return save(folder, trained(steps), State(steps=steps, epoch=1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["momentum", "adamw", "sgd"])
def test_trained_on_is_never_stopped(optimizer: dl.Optimizer, tmp_path: Path) -> None:
    whole = trained(8, optimizer=optimizer)
    path = save(tmp_path, trained(4, optimizer=optimizer), State(steps=4))
    fresh = compiled(optimizer=optimizer, seed=9)
    load(path, fresh)
    for batch in DATA[4:]:
        fresh(*batch)
    assert state_bits(fresh) == state_bits(whole)


@pytest.mark.parametrize("to", MODES)
@pytest.mark.parametrize("source", ["naive", "arena"])
def test_from_any_memory_mode_into_any(source: str, to: str, tmp_path: Path) -> None:
    path = save(tmp_path, trained(4, memory=source), State(steps=4))
    fresh = compiled(memory=to, seed=9)
    load(path, fresh)
    for batch in DATA[4:]:
        fresh(*batch)
    assert state_bits(fresh) == state_bits(trained(8))


def test_the_state_comes_back(tmp_path: Path) -> None:
    state = State(
        steps=7,
        epoch=2,
        batch=3,
        steps_per_epoch=5,
        learning_rate=0.1,
        loss_sum=1 / 3,
        loss_count=3,
        schedule={"best": 0.1},
        history=[{"epoch": 1}],
        callbacks={"EarlyStopping": {"best": None}},
        arguments={"lr": 0.1, "data": Path("x")},
        arrays={"ema": {"w": np.arange(3.0)}, "of/all": {"a/b": np.zeros((0, 2), bool)}},
    )
    found = load(save(tmp_path, compiled(), state), compiled())
    arrays = found.arrays
    np.testing.assert_array_equal(arrays["ema"]["w"], np.arange(3.0))
    state.arguments["data"] = "x"
    assert {**vars(found), "arrays": 0} == {**vars(state), "arrays": 0}


def test_a_file_that_others_read(tmp_path: Path) -> None:
    step = trained(2)
    path = save(tmp_path, step, State(steps=2, arrays={"ema": step.state_dict()}))
    assert path.name == "checkpoint-00000002.safetensors"
    with safe_open(path, "np") as file:
        state = json.loads(file.metadata()["state"])
        np.testing.assert_array_equal(
            file.get_tensor("variables/out.weight"), step.array("out.weight")
        )
    assert state["format"] == 2
    assert state["ema"] is True
    assert len(state["fingerprint"]) == 64


def test_the_fingerprint_is_the_networks_and_not_the_modes() -> None:
    def of(**how: object) -> str:
        return checkpoint.fingerprint(compiled(**how).variables_dict())  # type: ignore[arg-type]

    assert len({of(memory=mode) for mode in MODES}) == 1
    assert len({of(), of(hidden=9), of(optimizer=dl.AdamW())}) == 3


def test_the_last_n_are_kept(tmp_path: Path) -> None:
    step = compiled()
    for steps in (99_999_998, 5, 99_999_999, 100_000_000):
        save(tmp_path, step, State(steps=steps), keep=2)
    assert [checkpoint.steps_of(p) for p in checkpoint.found(tmp_path)] == [99_999_999, 100_000_000]
    assert latest(tmp_path) == tmp_path / "checkpoint-100000000.safetensors"
    with pytest.raises(ArgumentError, match="keep"):
        save(tmp_path, step, State(), keep=0)


def test_a_new_one_is_never_removed_for_an_older_name(tmp_path: Path) -> None:
    late = saved(tmp_path, 8)
    path = save(tmp_path, compiled(), State(steps=4), keep=1)
    assert path.exists()
    assert late.exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_mode_is_the_users(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        path = saved(tmp_path / "made")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o777 & ~mask


def test_leftovers_are_ignored_and_swept(tmp_path: Path) -> None:
    path = saved(tmp_path)
    left = unfinished(path.with_name("checkpoint-00000004.safetensors"))
    left.write_bytes(path.read_bytes()[:100])
    assert latest(tmp_path) == path
    saved(tmp_path, 5)
    assert not left.exists()
    assert sorted(os.listdir(tmp_path)) == [
        "checkpoint-00000003.safetensors",
        "checkpoint-00000005.safetensors",
    ]


def test_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1.safetensors").touch()
    (tmp_path / "other.safetensors").touch()
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None
    with pytest.raises(CheckpointError, match=r"nowhere: cannot be read: No such file"):
        load(tmp_path / "nowhere", compiled())


# -- damage ----------------------------------------------------------------------------------------


def truncate(data: bytes) -> bytes:
    return data[:-1]


def cut_header(data: bytes) -> bytes:
    return data[:20]


def lengthen(data: bytes) -> bytes:
    return data + b"\0"


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def change_step(data: bytes) -> bytes:
    return data.replace(b'\\"steps\\": 5', b'\\"steps\\": 6')


def swap_names(data: bytes) -> bytes:
    """Two tensors of one shape exchange their names."""
    length = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:length])
    a, b = "variables/norm.weight", "variables/norm.bias"
    header[a], header[b] = header[b], header[a]
    words = json.dumps(header).encode().ljust(length - 8)
    return data[:8] + words + data[length:]


def huge_header(data: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + data[8:]


def empty(data: bytes) -> bytes:
    return b""


DAMAGE = [truncate, cut_header, lengthen, flip_last, change_step, swap_names, huge_header, empty]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_the_one_before_is_taken(
    damage: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = saved(tmp_path, 4), saved(tmp_path, 5)
    data = damage(bad.read_bytes())
    assert data != bad.read_bytes()
    bad.write_bytes(data)
    step = trained(1)
    before = state_bits(step)
    with pytest.raises(CheckpointError, match=r"checkpoint-00000005\.safetensors: ") as caught:
        load(bad, step)
    assert "\n" not in str(caught.value)
    assert state_bits(step) == before
    assert latest(tmp_path) == good
    said = capsys.readouterr().err
    assert "checkpoint-00000005" in said
    assert said.endswith("; taking the one before it\n")
    assert bad.read_bytes() == data


def test_every_bit_counts(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    generator = np.random.default_rng(11)
    step = compiled()
    before = state_bits(step)
    for place in generator.integers(0, len(data), 200):
        changed = bytearray(data)
        changed[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        try:
            load(path, step)
        except CheckpointError:
            continue
        assert place < start, place  # a spelling of the header that says the same
        assert state_bits(step) == state_bits(trained(3))
        step.load_variables(compiled().variables_dict())
    assert state_bits(step) == before


HOSTILE = [
    "[]",
    "1",
    "{",
    "null",
    "{}",
    '{"format": 2}',
    '{"format": 1}',
    '{"format": 1, "fingerprint": 0, "ema": 0, "steps": "many"}',
    '{"format": 1, "fingerprint": 0, "ema": 0, "schedule": []}',
    '{"format": 1, "fingerprint": 0, "ema": 0, "steps": true}',
    '{"format": 1, "fingerprint": 0, "ema": 0, "surprise": 1}',
    "[" * 100_000,
]


@pytest.mark.parametrize("words", HOSTILE, ids=lambda words: words[:60])
def test_a_state_that_is_none(words: str, tmp_path: Path) -> None:
    step = compiled()
    path = tmp_path / "checkpoint-00000001.safetensors"
    tensors = {f"variables/{name}": array for name, array in step.variables_dict().items()}
    checkpoint_file.write(path, tensors, words)
    with pytest.raises(CheckpointError, match=r"its state is not one of a run"):
        load(path, step)
    assert latest(tmp_path) is None


def test_weights_are_no_checkpoint(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "checkpoint-00000001.safetensors"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="no checkpoint of a run"):
        load(path, compiled())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"hidden": 9}, r"hidden\.weight: expected shape \(9, 36\), got \(8, 36\)"),
        ({"optimizer": dl.AdamW(0.1)}, r"missing .*conv\.weight\.exp_avg.*unknown .*momentum"),
        ({"precision": "float64"}, r"expected dtype float64, got float32"),
    ],
)
def test_another_network_is_named(how: dict[str, object], message: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    step = trained(2, **how)
    before = state_bits(step)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path, step)
    assert "\n" not in str(caught.value)
    assert state_bits(step) == before


def test_a_disk_that_keeps_something_else_is_said_of_the_file_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the hidden one that it is for a moment."""
    step = compiled()
    monkeypatch.setattr(checkpoint_file, "digest", lambda *_: "0" * 64)
    with pytest.raises(CheckpointError, match=r"checkpoint-00000000\.safetensors: reads back") as e:
        save(tmp_path, step, State(steps=0, epoch=0))
    assert ".part" not in str(e.value)
    assert not list(tmp_path.glob(".*.part"))
