"""A run that goes on elsewhere: what that device has not is said at once, with a way that works."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from minidl.cli import main
from minidl.devices.presence import DeviceError
from minidl.train import checkpoint, checkpoint_file
from tests.cli.runs import failed, trained

OF_CUDA = [
    ({"amp": True, "prefetch": True}, "cpu has no --amp and no --prefetch"),
    *(
        pytest.param(*row, marks=pytest.mark.slow)
        for row in (
            ({"precision": "tf32"}, "cpu has no --precision tf32"),
            ({"precision": "bf16", "prefetch": True}, "no --precision bf16 and no --prefetch"),
            ({"prefetch": True}, "cpu has no --prefetch"),
        )
    ),
]


def as_if_on_cuda(run: Path, flags: dict[str, object]) -> None:
    """Rewrite what the last checkpoint says of its run."""
    last = checkpoint.found(run)[-1]
    tensors, words = checkpoint_file.read(last)
    state = json.loads(words)
    state["arguments"]["flags"] |= {"device": "cuda", **flags}
    checkpoint_file.write(last, tensors, json.dumps(state))


@pytest.mark.parametrize(("flags", "said"), OF_CUDA)
def test_the_command_that_is_told_works(
    flags: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = trained(tmp_path, "--epochs", "1")
    as_if_on_cuda(where, flags)
    how = ["train", "--resume", str(where), "--device", "cpu", "--epochs", "2"]
    status, error = failed(capsys, *how)
    assert (status, said in error) == (2, True), error
    _, _, command = error.strip().partition("go on with: minidl ")
    assert command.startswith(shlex.join(how))
    assert main(shlex.split(command)) == 0
    assert checkpoint.opened(where).state.epoch == 2


def test_without_a_gpu_the_first_error_has_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise DeviceError("no NVIDIA driver: device 'cuda' needs one", "install one")

    where = trained(tmp_path, "--epochs", "1")
    as_if_on_cuda(where, {"amp": True, "prefetch": True})
    with monkeypatch.context() as patch:
        patch.setattr("minidl.cli.train.dl.compile", none)
        status, error = failed(capsys, "train", "--resume", str(where), "--epochs", "2")
    assert status == 1
    _, _, command = error.strip().partition("install one, or go without it: minidl ")
    assert main(shlex.split(command)) == 0
    assert checkpoint.opened(where).state.epoch == 2
