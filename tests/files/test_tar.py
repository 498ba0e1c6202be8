"""The reader of tars against Python's own, and how much of a file it unpacks at most."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import tarfile
from pathlib import Path

import pytest

from minidl.files.tape import EXPANSION, FREE, Tape
from minidl.files.tar import read_files
from minidl.files.tar_headers import found
from minidl.ir import ArgumentError
from tests.files.faults import header, sized
from tests.layers.harness import SEED

FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}
PARTS = ("a", "\N{SNOWMAN}", "b" * 60, "c" * 90, "x y")
KINDS = (tarfile.REGTYPE,) * 4 + (
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.CONTTYPE,
    tarfile.LNKTYPE,
)


def drawn(form: str, mode: str, rng: random.Random) -> bytes:
    """A tar of a few members of any kind, with long names where the format has them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=FORMATS[form]) as made:  # type: ignore[call-overload]
        for number in range(rng.randrange(8)):
            deep = rng.choice((1, 2, 40)) if form != "ustar" else 1
            name = "/".join([*rng.choices(PARTS, k=deep), f"{number}.jpg"])
            info, raw = (
                tarfile.TarInfo(name),
                rng.randbytes(rng.choice((0, 1, 511, 512, 513, 3000))),
            )
            info.type, info.mtime = rng.choice(KINDS), 1.5 if form == "pax" else 1
            if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = "l" * rng.choice((3, 200 if form != "ustar" else 9))
            info.size = len(raw) if info.isreg() else 0
            made.addfile(info, io.BytesIO(raw))
    return file.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_members_are_those_that_tarfile_reads(form: str, mode: str, tmp_path: Path) -> None:
    print(f"MINIDL_TEST_SEED={SEED}")
    rng, path, count = random.Random(f"{SEED} {form} {mode}"), tmp_path / "x", 0
    for _ in range(20):
        path.write_bytes(drawn(form, mode, rng))
        with tarfile.open(path) as made:
            expected = [
                (tuple(info.name.split("/")), file.read())
                for info in made
                if info.isreg() and (file := made.extractfile(info)) is not None
            ]
        files = read_files(path, bool)
        assert list(files.items()) == expected
        count += len(expected)
    assert count > 20


def test_streams_of_xz_side_by_side(tmp_path: Path) -> None:
    """As `xz` makes them in several threads or `cat` of several files, with zeros between."""
    raw = drawn("gnu", "w", random.Random(3))
    cut = len(raw) // 3
    (tmp_path / "x").write_bytes(lzma.compress(raw[:cut]) + bytes(8) + lzma.compress(raw[cut:]))
    with (tmp_path / "x").open("rb") as file:
        assert Tape(file).read(len(raw)) == raw
    (tmp_path / "x").write_bytes(lzma.compress(raw)[:-9])
    with (tmp_path / "x").open("rb") as file, pytest.raises(ArgumentError, match="damaged"):
        Tape(file).read(len(raw) + 1)


@pytest.mark.parametrize("size", [2**20, 2**24, 2**40, 2**62])
def test_no_more_is_unpacked_than_the_file_allows(size: int) -> None:
    """Whatever a header says of a member that is passed over."""
    packed = gzip.compress(header("a.txt", sized(size)) + bytes(2**24))
    tape = Tape(io.BytesIO(packed))
    with pytest.raises(ArgumentError, match="more than 50 times"):
        list(found(tape))
    assert tape.at <= max(FREE, EXPANSION * len(packed))
