"""Whatever a file is called and whatever a stream can show: every command says it and ends well."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from minidl.cli import COMMANDS, main
from tests.cli.runs import SMALL
from tests.data.images import encoded, pixels

NO_UTF8 = os.fsdecode(b"caf\xe9")
"""A name of bytes that are no UTF-8, as a camera's card or an old archive has them."""

ENCODINGS = [
    "ascii",
    pytest.param("cp1252", marks=pytest.mark.slow),
    pytest.param("latin-1", marks=pytest.mark.slow),
    "utf-8",
]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of images whose class, folder and file names are such names."""
    folder = tmp_path_factory.mktemp("names")
    data = folder / "猫"
    try:
        for name in (NO_UTF8, "b猫"):
            (data / name).mkdir(parents=True)
            for i in range(8):
                (data / name / f"é{i}{NO_UTF8}.png").write_bytes(encoded(pixels(32, 32, i), "PNG"))
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    how = ["--data-path", str(data), *SMALL, "--epochs", "1"]
    assert main(["train", *how, "--output-dir", str(folder / NO_UTF8)]) == 0
    return folder


SAID = {
    "train --epochs 2 --resume {run}": 0,
    "eval -j 0 --split all --run {run} --confusion {out}.csv": 0,
    "predict --run {run} {image}": 0,
    "predict --run {run} {image} {out} {run}": 1,
    "export --run {run} --safetensors {out}.safetensors": 0,
    "plan --model lenet -b 1 --json {out}.json --html {out}.html": 0,
    "about": 0,
    "place {out}": 1,
    "plan --model {out}": 2,
    "plan {out}": 2,
    "train --config {out}": 2,
    "eval --run {out}": 1,
    "train --data-path {out}": 2,
    **{f"{command} --help": 0 for command in COMMANDS},
    "--help": 0,
}
"""Commands, and the status that each ends with."""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_says_it(
    encoding: str, names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = next((names / "猫" / NO_UTF8).iterdir())
    for said, expected in SAID.items():
        run, out = str(names / NO_UTF8), str(tmp_path / f"o猫{NO_UTF8}")
        words = [w.format(run=run, out=out, image=image) for w in said.split()]
        shown = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", shown[0])
            patch.setattr(sys, "stderr", shown[1])
            try:
                status = main(words)
            except SystemExit as exit_:
                status = int(exit_.code or 0)
            for stream in shown:
                stream.flush()
        raw = [stream.buffer.getvalue() for stream in shown]  # type: ignore[attr-defined]
        assert (said, status) == (said, expected), raw[1]
        assert b"a fault in minidl" not in raw[1], (said, raw[1])
        assert (raw[0] if status == 0 else raw[1]).endswith(b"\n"), said
        assert not any("\ufffd" in text.decode(encoding, "replace") for text in raw), said
    written = {path.suffix: path for path in tmp_path.iterdir()}
    assert sorted(written) == [".csv", ".html", ".json", ".safetensors"]
    assert "caf\\udce9" in written[".csv"].read_text(encoding="utf-8")
