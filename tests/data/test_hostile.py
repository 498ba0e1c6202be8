"""Files made to do harm, or broken: refused with an error that names them, and nothing happens."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from minidl.data import (
    BrokenImageError,
    ImageFolder,
    ImageTar,
    ImageZip,
    cifar10,
    mnist,
    open_data,
)
from minidl.data.cifar import unpickled
from minidl.ir import ArgumentError
from tests.data.images import encoded, pixels, tar_of
from tests.data.test_sources import cifar_files, mnist_folder

JPEG = encoded(pixels(8, 8))


@pytest.mark.parametrize("name", ["../out/0.jpg", "/etc/a/0.jpg", "a/../../b/0.jpg"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_tar_that_points_outside_is_refused(tmp_path: Path, name: str, end: str) -> None:
    path = tar_of(tmp_path / f"x.tar{end}", {"a/0.jpg": JPEG, name: JPEG}, f"w:{end[1:]}")
    with pytest.raises(ArgumentError, match="outside"):
        ImageTar(path)
    with pytest.raises(ArgumentError, match="outside"):
        open_data(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    with tarfile.open(path, "w") as tar:
        for kind in kinds:
            info = tarfile.TarInfo(f"a/{kind!r}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("a/0.jpg")
        info.size = len(JPEG)
        tar.addfile(info, io.BytesIO(JPEG))
    source = ImageTar(path)
    assert len(source) == 1
    assert source.read(0) == JPEG


@pytest.mark.parametrize("end", ["", ".gz", ".xz"])
def test_tar_cut_short_is_refused(tmp_path: Path, end: str) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    path = tar_of(tmp_path / f"x.tar{end}", {"a/0.jpg": noise}, f"w:{end[1:]}")
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(ArgumentError, match=r"x\.tar"):
        ImageTar(path)


def test_tar_that_lies_about_a_size_is_refused_before_reading(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a/0.jpg")
    info.size = 2**40
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf() + JPEG)
    with pytest.raises(ArgumentError, match=r"x\.tar"):
        ImageTar(path)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + JPEG))
    with pytest.raises(ArgumentError, match="stay in memory"):
        ImageTar(path)


def test_a_zip_whose_bytes_changed_is_broken_where_it_is_read(tmp_path: Path) -> None:
    """Stored or deflated, by an entry's CRC-32; the other entries are read."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / f"{method}.zip"
        with zipfile.ZipFile(path, "w", method) as made:
            for name in ("a/0.jpg", "b/0.jpg"):
                made.writestr(name, JPEG)
        source, raw = ImageZip(path), bytearray(path.read_bytes())
        assert [source.read(i) for i in range(2)] == [JPEG] * 2
        raw[60] ^= 1
        path.write_bytes(raw)
        with pytest.raises(BrokenImageError, match=r"\.zip: a/0\.jpg: the zip archive is damaged"):
            source.read(0)
        assert source.read(1) == JPEG
        path.write_bytes(raw[:20])
        with pytest.raises(BrokenImageError, match="damaged"):
            source.read(1)


def test_no_more_of_a_zip_is_unpacked_than_its_directory_says(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/0.jpg", bytes(2**26))
        made.writestr("b/0.jpg", JPEG)
    with pytest.raises(ArgumentError, match="more than 200 times"):
        ImageZip(path)
    size = struct.pack("<I", 2**26)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 9)))
    source = ImageZip(path)
    tracemalloc.start()
    with pytest.raises(BrokenImageError, match="damaged"):
        source.read(0)
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["../x/0.jpg", "/a/0.jpg", "a/../../0.jpg"])
def test_a_zip_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("a/0.jpg", JPEG)
        made.writestr(name, JPEG)
    with pytest.raises(ArgumentError, match=r"leads elsewhere|points outside"):
        ImageZip(tmp_path / "x.zip")


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"no tar" * 1000)
    with pytest.raises(ArgumentError, match="not a tar"):
        open_data(path)
    with pytest.raises(ArgumentError, match="cannot be opened"):
        ImageTar(tmp_path / "missing.tar")


class Calls:
    """Runs a command where a careless unpickler reads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_calls_code_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    files = cifar_files("py")
    files["data_batch_1"] = pickle.dumps({"data": Calls(mark), "labels": []}, protocol)
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(ArgumentError, match=r"data_batch_1.*not allowed"):
        cifar10(tmp_path)
    assert not mark.exists()


HOSTILE = {
    "builtins": b"cbuiltins\neval\n(S'1'\ntR.",
    "object array": pickle.dumps({"data": np.array([{}], object)}, 2),
    "float array": pickle.dumps({"data": np.zeros(3)}, 2),
    "codec": b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
    "numpy.load": b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
    "list": pickle.dumps([1]),
    "cut short": pickle.dumps({"data": np.zeros(30, np.uint8)}, 2)[:-20],
    "lying length": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "nothing": b"",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"Px\n.",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_other_pickles_are_refused(raw: bytes) -> None:
    with pytest.raises(ArgumentError, match="somewhere: refused as a pickle"):
        unpickled(raw, "somewhere")


def test_array_whose_bytes_do_not_fit_is_refused() -> None:
    raw = pickle.dumps({"data": np.zeros((3, 5), np.uint8)}, 4)
    assert b"K\x03K\x05" in raw
    with pytest.raises(ArgumentError, match="refused"):
        unpickled(raw.replace(b"K\x03K\x05", b"K\xffK\xff"), "somewhere")


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 3071), np.uint8), "labels": [1, 2]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, "2"]},
        {"labels": [1, 2]},
    ],
)
def test_cifar_pickle_of_other_content_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(ArgumentError, match="data_batch_1"):
        cifar10(tmp_path)


def test_cifar_files_of_other_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(b"x" * 3074)
    with pytest.raises(ArgumentError, match="3,074 bytes are not records"):
        cifar10(tmp_path)
    with (tmp_path / "data_batch_1.bin").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ArgumentError, match="too many"):
        cifar10(tmp_path)
    (tmp_path / "data_batch_1.bin").unlink()
    with pytest.raises(ArgumentError, match="no file data_batch"):
        cifar10(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (struct.pack(">I3I", 0x801, 6, 28, 28), "not an idx file"),
        (struct.pack(">I3I", 0xD03, 6, 28, 28), "not an idx file"),
        (struct.pack(">I3I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "cannot hold"),
        (struct.pack(">I3I", 0x803, 5, 28, 28), "other bytes"),
        (b"\0\0\x08", "not an idx file"),
    ],
)
def test_idx_with_a_false_header_is_refused(
    tmp_path: Path, zipped: bool, header: bytes, message: str
) -> None:
    mnist_folder(tmp_path, zipped)
    file = tmp_path / f"train-images-idx3-ubyte{'.gz' if zipped else ''}"
    body = bytes(6 * 28 * 28) if len(header) == 16 else b""
    file.write_bytes(gzip.compress(header + body) if zipped else header + body)
    with pytest.raises(ArgumentError, match=message):
        mnist(tmp_path)


def test_idx_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    mnist_folder(tmp_path, True)
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-6])
    with pytest.raises(ArgumentError, match="cannot be read"):
        mnist(tmp_path)
    file.unlink()
    with pytest.raises(ArgumentError, match="no file train-labels"):
        mnist(tmp_path)


def npy(shape: tuple[int, ...], dtype: str, body: bytes) -> bytes:
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + body


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (npy((2**40, 4, 4, 3), "|u1", b"x"), "cannot hold"),
        (npy((-1, 4, 4, 3), "|u1", b"x"), "cannot hold"),
        (npy((2, 4, 4, 3), "|O", b"x"), "Python objects"),
        (npy((2, 4, 4, 3), "<c8", bytes(800)), "uint8 or float32"),
        (b"not an array", "cannot be read"),
    ],
)
def test_npz_with_a_false_array_is_refused(tmp_path: Path, images: bytes, message: str) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", npy((2,), "<i8", bytes(16)))
    with pytest.raises(ArgumentError, match=message):
        open_data(path)


def test_npz_of_other_keys_or_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ArgumentError, match=r"it has a\.npy"):
        open_data(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ArgumentError, match="cannot be read"):
        open_data(path)


def test_npz_with_any_wrong_byte_in_its_directory_is_read_or_refused(tmp_path: Path) -> None:
    """An entry that calls itself encrypted, among others."""
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.zeros(2, np.int64))
    content = path.read_bytes()
    for place in range(content.index(b"PK\x01\x02"), len(content)):
        for value in {0, 12, 255, content[place] ^ 1} - {content[place]}:
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            with suppress(ArgumentError):
                open_data(path)


def test_links_in_a_folder_are_not_gone_into(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").write_bytes(JPEG)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(ImageFolder(tmp_path)) == 1
