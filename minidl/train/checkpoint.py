"""Checkpoints: all that a run needs to go on as if it had never stopped, one file each.

A folder holds `checkpoint-00000123.safetensors` for step 123: every variable of the step, averaged
weights where there are some, and the run's state as JSON in the same file, so that no moment leaves
half of a checkpoint. `checkpoint-best.safetensors` is such a file too, of the best epoch so far,
and stays. One run writes to a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from minidl.console import tell
from minidl.data.fingerprint import Fingerprint
from minidl.files.atomic import sweep, write_atomically
from minidl.files.fields import parse_json, take
from minidl.files.opening import open_file
from minidl.ir import ArgumentError, Array, CheckpointError, ShapeError
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT, PATH, either, instance
from minidl.runtime.finite import warn_not_finite
from minidl.runtime.step import Step
from minidl.train import checkpoint_file
from minidl.train.history import packed, unpacked

FORMAT = 2
KNOWN = (1, FORMAT)
"""In format 1 the history stands in the JSON."""
NAME = re.compile(r"checkpoint-(\d{8,})\.safetensors")
BEST = "checkpoint-best.safetensors"
VARIABLES, HISTORY = "variables", "history"
"""Groups of arrays."""

Arrays = dict[str, Array]

Found = TypeVar("Found")


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
    data: dict[str, Fingerprint] = field(default_factory=dict)
    """Of the images to train on, `train`, and to validate on, `val`; empty where nobody knows."""
    arrays: dict[str, Arrays] = field(default_factory=dict)
    """Arrays beside the variables, by group and name: `ema` has the averaged weights."""


@dataclass(frozen=True)
class _Head:
    """What stands beside the state, for people: nobody reads it back."""

    fingerprint: str
    ema: bool


class _Variables(Mapping[str, Array]):
    """A step's variables: on the CPU device views, of a GPU a copy when one is asked for."""

    def __init__(self, step: Step) -> None:
        self.step = step

    def __getitem__(self, name: str) -> Array:
        return self.step.array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.step.variables)

    def __len__(self) -> int:
        return len(self.step.variables)


class _Tensors(Mapping[str, Array]):
    """Groups of arrays as `group/name`; none is held here."""

    def __init__(self, groups: Mapping[str, Mapping[str, Array]]) -> None:
        self.groups = groups
        self.places = {
            f"{group}/{name}": (group, name) for group in groups for name in groups[group]
        }

    def __getitem__(self, full: str) -> Array:
        group, name = self.places[full]
        return self.groups[group][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """What a file has, read once."""

    path: Path
    variables: Arrays
    state: State

    @never_raises
    def __repr__(self) -> str:
        at = f"step {self.state.steps:,}, epoch {self.state.epoch:,}"
        return f"<Checkpoint {self.path}: {at}, {len(self.variables):,} variables>"


PIECE = 2**20
"""Bytes that are copied at a time."""

COUNTS = ("steps", "epoch", "batch", "steps_per_epoch", "loss_count")
HEAD = tuple(f.name for f in fields(_Head))


@called(readers={"keep": COUNT})
def save(folder: str | Path, step: Step, state: State, keep: int = 3) -> Path:
    """Write a checkpoint of `step` and `state`, and remove all but the last `keep` up to it.

    The file has its name only once it is complete, on the disk and read back; only then are older
    ones removed. CheckpointError where it cannot be written: those before it are untouched.
    """
    folder = Path(folder)
    path = _written(folder / f"checkpoint-{state.steps:08d}.safetensors", step, state)
    for old in [p for p in found(folder) if steps_of(p) <= state.steps][:-keep]:
        with suppress(OSError):
            os.unlink(old)
    return path


def save_best(folder: str | Path, step: Step, state: State) -> Path:
    """Write the checkpoint that stays, in the place of the one before it, as `save` does."""
    return _written(Path(folder) / BEST, step, state)


def _written(path: Path, step: Step, state: State) -> Path:
    tensors = _Tensors(_groups(step, state))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, "checkpoint-")
        checkpoint_file.write(path, tensors, _to_json(step, state))
    except OSError as error:
        raise CheckpointError(
            f"{path}: not saved: {error.strerror or error}; the checkpoints before it are untouched"
        ) from error
    return path


def copy(source: Path, target: Path) -> None:
    """Write what a checkpoint has to another place, whole or not at all; CheckpointError where
    that fails."""
    try:
        with open_file(source) as file:
            write_atomically(target, iter(lambda: file.read(PIECE), b""), check=verify)
    except OSError as error:
        raise CheckpointError(f"{target}: not saved: {error.strerror or error}") from error


def _groups(step: Step, state: State) -> dict[str, Mapping[str, Array]]:
    return {VARIABLES: _Variables(step), HISTORY: packed(state.history), **state.arrays}


def found(folder: str | Path) -> list[Path]:
    """The checkpoints in a folder, good or not, by step."""
    names = [p for p in Path(folder).glob("checkpoint-*.safetensors") if NAME.fullmatch(p.name)]
    return sorted(names, key=steps_of)


def steps_of(path: Path) -> int:
    """The step that a checkpoint's name gives."""
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def require_own(folder: Path, resumed: Path | None) -> None:
    """ArgumentError where the folder's checkpoints are another run's, or later than the one that
    is resumed: the new ones would be mixed up with them."""
    known = found(folder)
    if not known and not (folder / BEST).exists():
        return
    if resumed is None:
        raise ArgumentError(
            f"{folder} has checkpoints of another run",
            "resume it (--resume), or choose another folder",
        )
    if resumed.resolve().parent != folder.resolve():
        raise ArgumentError(f"{folder} has checkpoints, and {resumed} is not one of them")
    later = [p for p in known if steps_of(p) > steps_of(resumed)]
    good = [p.name for p in later if _is_good(p)]
    if good:
        raise ArgumentError(
            f"{folder} has later checkpoints than {resumed.name}",
            f"remove {', '.join(good)}, or choose another folder",
        )


def _is_good(path: Path) -> bool:
    try:
        verify(path)
    except CheckpointError:
        return False
    return True


@called()
def latest(folder: str | Path) -> Path | None:
    """The last good checkpoint in a folder, every byte read; None where there is none. What is
    passed over is named on standard error."""
    return next((path for path, _ in _good(folder, verify)), None)


def _good(folder: str | Path, look: Callable[[Path], Found]) -> Iterator[tuple[Path, Found]]:
    """The good checkpoints of a folder, the last first, and what `look` found in each."""
    for path in reversed(found(folder)):
        try:
            yield path, look(path)
        except CheckpointError as error:
            tell(f"minidl: {error}; taking the one before it")


@called()
def opened(where: str | Path) -> Checkpoint:
    """A checkpoint, or the last good one of a folder, read once; CheckpointError where there is
    none."""
    where = Path(where)
    if not where.is_dir():
        return Checkpoint(where, *read(where))
    for path, (variables, state) in _good(where, read):
        return Checkpoint(path, variables, state)
    best = f"name {where / BEST}" if (where / BEST).exists() else ""
    raise CheckpointError(f"{where}: no good checkpoint in this folder", best)


def read(path: str | Path) -> tuple[Arrays, State]:
    """The variables and the state of a checkpoint; CheckpointError where it is damaged, cannot be
    read or has another format."""
    path = Path(path)
    with _naming(path):
        tensors, words = checkpoint_file.read(path)
        state = _from_json(words)
        for full, array in tensors.items():
            group, _, name = full.partition("/")
            state.arrays.setdefault(group, {})[name] = array
        state.history = unpacked(state.arrays.pop(HISTORY, {})) or state.history
    return state.arrays.pop(VARIABLES, {}), state


def glance(path: Path) -> State:
    """The state that a checkpoint's header has; its tensors are not looked at."""
    with _naming(path):
        return _from_json(checkpoint_file.glance(path))


def verify(path: str | Path) -> State:
    """The state of a checkpoint, without arrays; CheckpointError where `read` would raise it.
    Little of the file is in memory at a time."""
    path = Path(path)
    with _naming(path):
        return _from_json(checkpoint_file.verify(path))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors as CheckpointErrors that name the file."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ArgumentError as error:
        raise CheckpointError(f"{path}: its state is not one of a run: {error.message}") from None


@called(readers={"source": either(PATH, instance(Checkpoint))})
def load(source: str | Path | Checkpoint, step: Step) -> State:
    """Put a checkpoint's variables into `step`, whatever memory mode either has, and return its
    state. CheckpointError where it is damaged or of another network, which names the tensor and
    both shapes: the step is then unchanged. RuntimeWarning where a NaN or an infinity is loaded."""
    given = source if isinstance(source, Checkpoint) else Checkpoint(Path(source), *read(source))
    try:
        step.load_variables(given.variables)
    except (ShapeError, ArgumentError) as error:
        said = f"{given.path} is of another network or optimizer: {error.message}"
        raise CheckpointError(said, error.hint) from None
    warn_not_finite(given.path, given.variables)
    return given.state


def fingerprint(variables: Mapping[str, Array]) -> str:
    """SHA-256 of the names, shapes and dtypes of variables, ordered by name."""
    rows = [[name, *_kind(variables[name])] for name in sorted(variables)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _kind(array: Array) -> tuple[tuple[int, ...], str]:
    return array.shape, array.dtype.name


def _to_json(step: Step, state: State) -> str:
    beside = ("arrays", "history")
    plain = {name: value for name, value in vars(state).items() if name not in beside}
    plain["data"] = {name: asdict(own) for name, own in state.data.items()}
    own = fingerprint(_Variables(step))
    head = {"format": FORMAT, "fingerprint": own, "ema": "ema" in state.arrays}
    return json.dumps({**head, **plain}, default=str)


def _from_json(words: str) -> State:
    data = take(dict[str, Any], parse_json(words), "it")
    if data.pop("format", None) not in KNOWN:
        known = " or ".join(map(str, KNOWN))
        raise ArgumentError(f"its format is not {known}: another version of minidl wrote it")
    take(_Head, {name: data.pop(name, None) for name in HEAD}, "it")
    if "arrays" in data:
        raise ArgumentError("it has arrays, which are beside it")
    state: State = take(State, data, "it")
    if negative := [name for name, value in vars(state).items() if name in COUNTS and value < 0]:
        raise ArgumentError(f"it has {', '.join(negative)} below 0")
    return state
