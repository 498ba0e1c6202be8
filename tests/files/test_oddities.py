"""Files with what other programs do to them, and what is read: the same as without.

Weights have a table of their own, `tests/interop/test_foreign_weights.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minidl.cli.trained import _names
from minidl.data import mnist, open_data
from minidl.files.opening import read_text
from minidl.ir import ArgumentError
from tests.data.test_sources import mnist_folder
from tests.files.readers import READERS

MARK = "\ufeff".encode()


def names(path: Path) -> object:
    return _names(path)


def by_reader(key: str) -> Callable[[Path], object]:
    return READERS[key].read


TEXTS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "run.toml": (READERS["config"].build(), by_reader("config")),
    "names.txt": ("Käse\nWein\n".encode(), names),
    "blocks.csv": (READERS["blocks"].build(), by_reader("blocks")),
    "plan.json": (READERS["plan"].build(), by_reader("plan")),
}
"""What Windows writes as UTF-8."""


@pytest.mark.parametrize("file", TEXTS)
def test_a_byte_order_mark(file: str, tmp_path: Path) -> None:
    content, read = TEXTS[file]
    for folder, start in (("without", b""), ("with", MARK)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_bytes(start + content)
    path = tmp_path / "with" / file
    assert read(path) == read(tmp_path / "without" / file)
    assert read_text(path) == content.decode()


@pytest.mark.parametrize("ends", ["\r\n", "\r"], ids=["Windows", "Mac"])
def test_ends_of_lines(ends: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(MARK + f"Käse{ends}{ends}Wein{ends}".encode())
    assert _names(tmp_path / "names.txt") == ("Käse", "Wein")


def test_one_mark_is_taken_off_and_no_more(tmp_path: Path) -> None:
    """A second one is text."""
    (tmp_path / "names.txt").write_bytes(2 * MARK + b"a\n")
    assert _names(tmp_path / "names.txt") == ("\ufeffa",)


# -- MNIST -----------------------------------------------------------------------------------------

PLACES: dict[str, str] = {
    ".": "",
    "raw": "the images are those of raw",
    "MNIST/raw": "the images are those of MNIST/raw",
    "FashionMNIST/raw": "the images are those of FashionMNIST/raw",
}
"""Where the files lie below the folder that is named, and the note that says so."""


@pytest.mark.parametrize("zipped", [False, True], ids=["", "gz"])
@pytest.mark.parametrize("place", PLACES)
def test_where_mnist_lies(place: str, zipped: bool, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    mnist_folder(tmp_path / place, zipped)
    for splits in (mnist(tmp_path), open_data(tmp_path)):
        assert (len(splits.train), len(splits.test)) == (6, 3)
        assert splits.notes == ((said,) if (said := PLACES[place]) else ())
        assert str(splits).endswith(said)


def test_both_as_torchvision_leaves_them(tmp_path: Path) -> None:
    """The archives beside what was unpacked."""
    (raw := tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for zipped in (True, False):
        mnist_folder(raw, zipped)
    assert len(open_data(tmp_path).train) == 6


def test_two_data_sets_are_not_guessed(tmp_path: Path) -> None:
    for name in ("MNIST", "KMNIST"):
        (raw := tmp_path / name / "raw").mkdir(parents=True)
        mnist_folder(raw, False)
    with pytest.raises(ArgumentError, match=r"2 data sets, KMNIST/raw, MNIST/raw: name one"):
        open_data(tmp_path)
    assert len(open_data(tmp_path / "KMNIST").train) == 6
    shutil.rmtree(tmp_path / "KMNIST")
    assert len(open_data(tmp_path).train) == 6
