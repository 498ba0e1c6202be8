"""Whichever call of a disk fails, and however: what was there or what was to be there is whole, and
the run that goes on ends in the bits, and the files, of one that nothing happened to.

The test command runs a sample of the calls, spread over each run; all of them are marked slow.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import minidl as dl
from minidl.ir import CheckpointError
from minidl.train import EarlyStopping, Ema, State, Trainer, checkpoint, latest, load, save
from minidl.train.best import best_in
from minidl.train.log import rows_until
from tests.drawn import drawn
from tests.train.disk import Disk, KilledError
from tests.train.small import BATCH, CLASSES, IMAGE, training, validation
from tests.training import state_bits


def network() -> dl.Network:
    """One matrix: few tensors in a file are few calls, and each has momentum and an average."""
    x = dl.Input(IMAGE)
    return dl.Network(x, dl.Linear(CLASSES)(dl.Dropout(0.3)(dl.Flatten()(x))))


STEP = dl.compile(network(), BATCH, optimizer=dl.SGD(0.05, momentum=0.9))
BEGIN = STEP.variables_dict()
BATCHES = list(training().epoch(0))
EPOCHS, PER_EPOCH = 2, len(training())
SAMPLE = 4
"""Calls of each run and fault in the test command: 3 x 5 x 4."""

Bits = dict[str, str]


def trainer(folder: Path, resume: Path | None = None) -> Trainer:
    """Of the one step, from its beginning: with all that a folder can get without an extra."""
    STEP.load_variables(BEGIN)
    return Trainer(
        STEP,
        quiet=True,
        output_dir=folder,
        print_freq=2,
        checkpoint_every=4,
        keep=2,
        ema=Ema(0.9, every=2),
        callbacks=[EarlyStopping("top1", patience=9, restore_best=True)],
        resume=resume,
    )


def fit(folder: Path, resume: Path | None = None, epochs: int = EPOCHS) -> None:
    trainer(folder, resume).fit(training(), validation(), epochs)


def at_step(steps: int) -> None:
    STEP.load_variables(BEGIN)
    for i in range(steps):
        STEP(*BATCHES[i % PER_EPOCH])


# -- what runs, and what lies there before ---------------------------------------------------------


def no_folder(folder: Path) -> None:
    folder.mkdir()


def one_checkpoint(folder: Path) -> None:
    at_step(1)
    save(folder, STEP, State(steps=1))


def one_epoch(folder: Path) -> None:
    fit(folder, epochs=1)


def save_another(folder: Path) -> None:
    at_step(2)
    save(folder, STEP, State(steps=2), keep=1)


def first(folder: Path) -> None:
    fit(folder)


def resumed(folder: Path) -> None:
    fit(folder, folder)


# -- what must be there after it -------------------------------------------------------------------


def checkpoint_is_old_or_new(folder: Path, _: Path) -> None:
    path = latest(folder)
    assert path is not None
    steps = load(path, STEP).steps
    assert steps in (1, 2)
    found = state_bits(STEP)
    at_step(steps)
    assert state_bits(STEP) == found
    save_another(folder)  # removes what was left behind
    assert [p.name for p in folder.iterdir()] == ["checkpoint-00000002.safetensors"]


def ends_as_if_nothing_had_happened(folder: Path, before: Path) -> None:
    require_whole_files(folder)
    path = latest(folder)
    old = latest(before)
    if old is not None:
        assert path is not None
        assert checkpoint.steps_of(path) >= checkpoint.steps_of(old)
        rows = rows_until(before / "steps.csv", PER_EPOCH)
        assert rows_until(folder / "steps.csv", PER_EPOCH)[: len(rows)] == rows
    fit(folder, path)
    bits, files = never_failed()
    assert state_bits(STEP) == bits
    assert contents(folder) == files


def require_whole_files(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == "args.json":
            json.loads(path.read_text())
        if path.name == "report.html":
            assert path.read_text().rstrip().endswith("</html>")
        if path.name == "confusion.csv":
            assert len(path.read_text().splitlines()) == 6


def contents(folder: Path) -> dict[str, object]:
    """A run's files by name, without times."""
    found: dict[str, object] = {}
    for path in folder.iterdir():
        if path.name == "log.csv":
            with path.open(newline="") as file:
                found[path.name] = [row[:10] for row in csv.reader(file)]
        elif path.name == checkpoint.BEST:
            variables, state = checkpoint.read(path)
            bits = {name: array.tobytes() for name, array in variables.items()}
            found[path.name] = state.epoch, best_in(state), bits
        elif path.suffix in (".html", ".safetensors"):
            found[path.name] = None
        else:
            found[path.name] = path.read_bytes()
    return found


@cache
def never_failed() -> tuple[Bits, dict[str, object]]:
    folder = FOLDERS["whole"]
    fit(folder)
    return state_bits(STEP), contents(folder)


FOLDERS: dict[str, Path] = {}

Act = Callable[[Path], None]

RUNS: dict[str, tuple[Act, Act, Callable[[Path, Path], None]]] = {
    "checkpoint": (one_checkpoint, save_another, checkpoint_is_old_or_new),
    "first run": (no_folder, first, ends_as_if_nothing_had_happened),
    "resumed run": (one_epoch, resumed, ends_as_if_nothing_had_happened),
}
"""What lies there, what is done, and what must hold afterwards."""


@pytest.fixture(scope="module", autouse=True)
def folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder before each run, made once, and one of a run that nothing happens to."""
    root = tmp_path_factory.mktemp("sweep")
    FOLDERS.update({name: root / name.replace(" ", "-") for name in ("whole", *RUNS)})
    for name, (prepare, _, _) in RUNS.items():
        prepare(FOLDERS[name])


@cache
def count(name: str) -> int:
    """The calls of a run on a disk that is in order."""
    disk = Disk(FOLDERS["whole"].parent / "count")
    folder = Path(disk.folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FOLDERS[name], folder)
    with disk.watched():
        RUNS[name][1](folder)
    return disk.calls


def fails(name: str, fault: str, at: int, folder: Path) -> None:
    _, act, check = RUNS[name]
    shutil.copytree(FOLDERS[name], folder)
    disk = Disk(folder, fault, at)
    with disk.watched():
        try:
            act(folder)
        except (OSError, CheckpointError):
            assert fault not in ("short", "kill")
        except KilledError:
            assert fault == "kill"
    assert disk.calls >= at
    with Disk(folder).watched():  # in order again
        check(folder, FOLDERS[name])


@pytest.mark.parametrize("place", range(SAMPLE))
@pytest.mark.parametrize("fault", Disk.FAULTS)
@pytest.mark.parametrize("name", RUNS)
def test_a_call_that_fails(name: str, fault: str, place: int, tmp_path: Path) -> None:
    """Other calls for each fault, from the first to the last."""
    shift = Disk.FAULTS.index(fault) / len(Disk.FAULTS)
    at = 1 + int((place + shift) / SAMPLE * count(name))
    fails(name, fault, at, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("fault", Disk.FAULTS)
@pytest.mark.parametrize("name", RUNS)
def test_every_call_that_fails(name: str, fault: str, tmp_path: Path) -> None:
    """Each call with one of the faults in a session, with all of them where all is asked for."""
    assert count(name) >= {"checkpoint": 10}.get(name, 100)
    part = Disk.FAULTS.index(fault)
    for at in drawn(range(1, count(name) + 1), len(Disk.FAULTS), part):
        fails(name, fault, at, tmp_path / str(at))
        shutil.rmtree(tmp_path / str(at))
