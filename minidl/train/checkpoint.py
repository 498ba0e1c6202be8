"""Checkpoints: all that a run needs to go on as if it had never stopped, one file each.

A folder holds `checkpoint-00000123.safetensors` for step 123: every variable of the step, averaged
weights where there are some, and the run's state as JSON in the same file, so that no moment leaves
half of a checkpoint. One run writes to a folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from minidl.console import tell
from minidl.files.atomic import sweep
from minidl.files.fields import parse_json, take
from minidl.ir import ArgumentError, Array, CheckpointError, ShapeError
from minidl.runtime.finite import warn_not_finite
from minidl.runtime.step import Step
from minidl.train import checkpoint_file

FORMAT = 1
NAME = re.compile(r"checkpoint-(\d{8,})\.safetensors")
VARIABLES = "variables"

Arrays = dict[str, Array]


@dataclass
class State:
    """Where a run stands, beside the variables of its step. Numbers and words only, but `arrays`.

    The next batch is number `batch` of epoch number `epoch`, both from 0.
    """

    steps: int = 0
    """Steps done since the run began."""
    epoch: int = 0
    batch: int = 0
    steps_per_epoch: int = 0
    learning_rate: float = 0.0
    """The base rate, which the schedule multiplies."""
    loss_sum: float = 0.0
    loss_count: int = 0
    """Of this epoch's steps so far."""
    schedule: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Arrays] = field(default_factory=dict)
    """Arrays beside the variables, by group and name: `ema` has the averaged weights."""


@dataclass(frozen=True)
class _Head:
    """What stands beside the state, for people: nobody reads it back."""

    fingerprint: str
    ema: bool


COUNTS = ("steps", "epoch", "batch", "steps_per_epoch", "loss_count")
HEAD = tuple(f.name for f in fields(_Head))


def save(folder: str | Path, step: Step, state: State, keep: int = 3) -> Path:
    """Write a checkpoint of `step` and `state`, and remove all but the last `keep` up to it.

    The file has its name only once it is complete, on the disk and read back; only then are older
    ones removed. CheckpointError where it cannot be written: those before it are untouched.
    """
    if keep < 1:
        raise ArgumentError(f"keep must be at least 1, got {keep}")
    folder = Path(folder)
    path = folder / f"checkpoint-{state.steps:08d}.safetensors"
    groups = {VARIABLES: step.variables_dict(), **state.arrays}
    tensors = {
        f"{group}/{name}": a for group, arrays in groups.items() for name, a in arrays.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, "checkpoint-")
        checkpoint_file.write(path, tensors, _to_json(step, state))
    except OSError as error:
        raise CheckpointError(
            f"{path}: not saved: {error.strerror or error}; the checkpoints before it are untouched"
        ) from error
    for old in [p for p in found(folder) if steps_of(p) <= state.steps][:-keep]:
        with suppress(OSError):
            old.unlink()
    return path


def found(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, good or not, by step."""
    names = [p for p in Path(folder).glob("checkpoint-*.safetensors") if NAME.fullmatch(p.name)]
    return sorted(names, key=steps_of)


def steps_of(path: Path) -> int:
    """The step that a checkpoint's name gives."""
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def latest(folder: str | Path) -> Path | None:
    """The last good checkpoint in a folder, every byte read; None where there is none. What is
    passed over is named on standard error."""
    for path in reversed(found(folder)):
        try:
            read(path)
        except CheckpointError as error:
            tell(f"minidl: {error}; taking the one before it")
        else:
            return path
    return None


def at(where: Path) -> Path:
    """The last good checkpoint of a folder; a file is itself."""
    if not where.is_dir():
        return where
    path = latest(where)
    if path is None:
        raise CheckpointError(f"{where}: no good checkpoint in this folder")
    return path


def read(path: str | Path) -> tuple[Arrays, State]:
    """The variables and the state of a checkpoint; CheckpointError where it is damaged, cannot be
    read or has another format."""
    path = Path(path)
    try:
        tensors, words = checkpoint_file.read(path)
        state = _from_json(words)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ArgumentError as error:
        raise CheckpointError(f"{path}: its state is not one of a run: {error.message}") from None
    for full, array in tensors.items():
        group, _, name = full.partition("/")
        state.arrays.setdefault(group, {})[name] = array
    return state.arrays.pop(VARIABLES, {}), state


def load(path: str | Path, step: Step) -> State:
    """Put a checkpoint's variables into `step`, whatever memory mode either has, and return its
    state. CheckpointError where it is damaged or of another network, which names the tensor and
    both shapes: the step is then unchanged. RuntimeWarning where a NaN or an infinity is loaded."""
    variables, state = read(path)
    try:
        step.load_variables(variables)
    except (ShapeError, ArgumentError) as error:
        said = f"{path} is of another network or optimizer: {error.message}"
        raise CheckpointError(said, error.hint) from None
    warn_not_finite(path, variables)
    return state


def fingerprint(variables: Mapping[str, Array]) -> str:
    """SHA-256 of the names, shapes and dtypes of variables, ordered by name."""
    rows = [[name, a.shape, a.dtype.name] for name, a in sorted(variables.items())]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _to_json(step: Step, state: State) -> str:
    plain = {k: v for k, v in asdict(_without_arrays(state)).items() if k != "arrays"}
    variables = {name: step.array(name) for name in step.variables}
    head = {"format": FORMAT, "fingerprint": fingerprint(variables), "ema": "ema" in state.arrays}
    return json.dumps({**head, **plain}, default=str)


def _without_arrays(state: State) -> State:
    return State(**{**vars(state), "arrays": {}})


def _from_json(words: str) -> State:
    data = take(dict[str, Any], parse_json(words), "it")
    if data.pop("format", None) != FORMAT:
        raise ArgumentError(f"its format is not {FORMAT}: another version of minidl wrote it")
    take(_Head, {name: data.pop(name, None) for name in HEAD}, "it")
    if "arrays" in data:
        raise ArgumentError("it has arrays, which are beside it")
    state: State = take(State, data, "it")
    if negative := [name for name, value in vars(state).items() if name in COUNTS and value < 0]:
        raise ArgumentError(f"it has {', '.join(negative)} below 0")
    return state
