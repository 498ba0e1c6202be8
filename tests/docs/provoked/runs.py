"""Training runs, their folders and checkpoints."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.files.lock import locked
from minidl.train import EarlyStopping, InOrder, Shuffled, State, Trainer, save
from tests.docs.provoked.cases import compiled, images, labels, raises


def run(step: dl.Step, epochs: int = 1, **how: object) -> object:
    """Two batches an epoch, in the folder `run`."""
    train = Shuffled(images(8), labels(8), 4)
    return Trainer(step, output_dir="run", quiet=True, **how).fit(train, None, epochs)  # type: ignore[arg-type]


@raises("### The loss is not finite")
def diverged(_: pytest.MonkeyPatch) -> object:
    step = compiled(optimizer=dl.SGD(lr=1e20))
    with np.errstate(all="ignore"):
        return run(step, 4)


@raises("### The loss is not finite")
def first_op(_: pytest.MonkeyPatch) -> object:
    step = compiled(optimizer=dl.SGD(lr=1e20), check_finite=True)
    with np.errstate(all="ignore"):
        return run(step, 4)


@raises("### The loss is not finite")
def input_not_finite(_: pytest.MonkeyPatch) -> object:
    x = images()
    x[0, 0, 0, 1] = np.nan
    return compiled(check_finite=True)(x, labels())


@raises("### The folder has another run")
def another_run(_: pytest.MonkeyPatch) -> object:
    run(compiled())
    return run(compiled())


@raises("### The folder is in use")
def in_use(_: pytest.MonkeyPatch) -> object:
    Path("run").mkdir()
    with locked(Path("run")):
        return run(compiled())


@raises("### The folder has later checkpoints")
def later(_: pytest.MonkeyPatch) -> object:
    run(compiled(), 2)
    return run(compiled(), 2, resume="run/checkpoint-00000002.safetensors")


@raises("### Nothing to resume")
def nothing(_: pytest.MonkeyPatch) -> object:
    Path("run").mkdir()
    return run(compiled(), resume="run")


@raises("### Resumed with other data")
def other_data(_: pytest.MonkeyPatch) -> object:
    step = compiled()
    trainer = Trainer(step, output_dir="run", quiet=True, checkpoint_every=1)
    trainer.fit(Shuffled(images(8), labels(8), 4))
    Path("run/checkpoint-00000002.safetensors").unlink()
    more = Shuffled(images(12), labels(12), 4)
    return Trainer(step, output_dir="run", quiet=True, resume="run").fit(more)


@raises("### Resumed with other images")
def other_images(_: pytest.MonkeyPatch) -> object:
    Trainer(compiled(), output_dir="run", quiet=True).fit(Shuffled(images(8), labels(8) % 2, 4))
    others = Shuffled(images(8), np.minimum(labels(8), 1), 4)
    return Trainer(compiled(), output_dir="run", quiet=True, resume="run").fit(others)


@raises("### A checkpoint is damaged")
def cut_short(_: pytest.MonkeyPatch) -> object:
    run(compiled())
    path = Path("run/checkpoint-00000002.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    return run(compiled(), resume=path)


@raises("### A checkpoint is damaged")
def changed(_: pytest.MonkeyPatch) -> object:
    run(compiled())
    path = Path("run/checkpoint-00000002.safetensors")
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)
    return run(compiled(), resume=path)


@raises("### A checkpoint is damaged")
def no_checkpoint(_: pytest.MonkeyPatch) -> object:
    from minidl.interop import save_weights

    save_weights("weights.safetensors", compiled().state_dict())
    return run(compiled(), resume="weights.safetensors")


@raises("### A checkpoint is of another network or optimizer")
def another_network(_: pytest.MonkeyPatch) -> object:
    run(compiled())
    return run(compiled(classes=3), resume="run")


@raises("### A checkpoint is of another network or optimizer")
def another_optimizer(_: pytest.MonkeyPatch) -> object:
    run(compiled(optimizer=dl.SGD(lr=0.1)))
    return run(compiled(optimizer=dl.SGD(lr=0.1, momentum=0.9)), resume="run")


@raises("### A checkpoint cannot be written")
def disk_full(monkeypatch: pytest.MonkeyPatch) -> object:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    return save("run", compiled(), State(steps=2))


@raises("### The loader has no batch")
def no_batch(_: pytest.MonkeyPatch) -> object:
    return Trainer(compiled(), quiet=True).fit(Shuffled(images(3), labels(3), 4))


@raises("### Arrays given to fit")
def arrays(_: pytest.MonkeyPatch) -> object:
    return Trainer(compiled(), quiet=True).fit(images(8), labels(8))


@raises("### An iterator ends after one epoch")
def iterator(_: pytest.MonkeyPatch) -> object:
    return Trainer(compiled(), quiet=True).fit((images(), labels()) for _ in range(3))


@raises("### EarlyStopping watches what is not measured")
def not_measured(_: pytest.MonkeyPatch) -> object:
    callbacks = [EarlyStopping("val_loss")]
    train = InOrder(images(), labels(), 4)
    return Trainer(compiled(), callbacks=callbacks, quiet=True).fit(train)
