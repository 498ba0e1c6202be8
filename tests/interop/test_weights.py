"""Weights go in and out of a step: formats, names, new heads; all or nothing."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.interop import load_weights, read_weights, save_weights
from minidl.ir import ArgumentError, Array
from tests.interop.pickled import archive, checkpoint, number, pickle_of, state_dict, word, written
from tests.training import state_bits


def network(classes: int = 3, width: int = 4) -> dl.Sequential:
    return dl.Sequential(
        dl.Input((6, 5, 2)),
        features=dl.Sequential(dl.Conv2d(width, 3), dl.BatchNorm2d(), dl.ReLU()),
        flatten=dl.Flatten(),
        fc=dl.Linear(classes),
    )


@pytest.fixture
def step() -> dl.Step:
    return dl.compile(network(), 2, seed=1)


def others(classes: int = 3, width: int = 4) -> dict[str, Array]:
    """The state dict of another run; its counter is no float."""
    other = dl.compile(network(classes, width), 2, seed=2)
    return other.state_dict()


def npz(arrays: dict[str, Array], compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


# -- formats ---------------------------------------------------------------------------------------


def test_the_content_says_which_format_it_is(tmp_path: Path, step: dl.Step) -> None:
    """Not the suffix."""
    arrays = others()
    floats = {n: a for n, a in arrays.items() if a.dtype == np.float32}
    same(read_weights(written(tmp_path, checkpoint(floats), "a.safetensors")), floats)
    same(read_weights(written(tmp_path, npz(arrays), "a.pth")), arrays)
    same(read_weights(written(tmp_path, npz(arrays, compressed=True), "b")), arrays)
    save_weights(tmp_path / "c.npz", arrays)
    same(read_weights(tmp_path / "c.npz"), arrays)


def npy(header: str, data: bytes = b"") -> bytes:
    raw = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + data


def zipped(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr(name, content)
    return file.getvalue()


def with_number(content: bytes, mark: bytes, place: int, value: int) -> bytes:
    """The archive with a 32-bit number changed, at `place` behind a mark of its directory."""
    start = content.rindex(mark) + place
    return content[:start] + struct.pack("<I", value) + content[start + 4 :]


ONE = npz({"a": np.zeros(2)})
DIRECTORY = ONE.index(b"PK\x01\x02")


F4 = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
BAD: dict[str, tuple[bytes, str]] = {
    "objects": (npz({"a": np.array([{}], object)}), "holds object"),
    "words": (npz({"a": np.array(["word"])}), "holds <U4"),
    "huge": (zipped("a.npy", npy(F4 % "(1099511627776,)")), "needs 4,398,046,511,104 bytes"),
    "negative": (zipped("a.npy", npy(F4 % "(-1,)")), "no .npy array|needs"),
    "cut short": (zipped("a.npy", npy(F4 % "(2,)", bytes(4))), "needs 8 bytes, it has 4"),
    "no header": (zipped("a.npy", b"word"), "no .npy array"),
    "code": (zipped("a.npy", npy("__import__('os').system('true')")), "no .npy array"),
    "bomb": (zipped("a.npy", bytes(10**7)), "unpacks to 10,000,000 bytes, more than 200 times"),
    "legacy": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "before version 1.6"),
    "bare pickle": (b"\x80\x04N.", "bare pickle"),
    "tar": (bytes(257) + b"ustar\x0000" + bytes(300), "tar archive.*torch.save"),
    "begins before the file": (
        with_number(ONE, b"PK\x05\x06", 16, DIRECTORY + 1),
        r"entry 'a\.npy' is said to begin at byte -1 of the file's",
    ),
    "begins behind the file": (
        with_number(ONE, b"PK\x01\x02", 42, 2**31),
        r"entry 'a\.npy' is said to begin at byte 2,147,483,648 of the file's",
    ),
    "method": (
        zipped("a.npy", npy(F4 % "(1,)", bytes(4)), zipfile.ZIP_BZIP2),
        r"entry 'a\.npy' is compressed by method 12",
    ),
    "words alone": (b"no weights are in here", "neither .safetensors, .pth nor .npz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path) -> None:
    content, message = BAD[case]
    with pytest.raises(ArgumentError, match=message) as caught:
        read_weights(written(tmp_path, content, "bad.npz"))
    assert "bad.npz: " in str(caught.value)


@pytest.mark.parametrize("content", [ONE, checkpoint({"a": np.zeros(2)})])
def test_any_byte_of_the_directory_may_be_wrong(content: bytes, tmp_path: Path) -> None:
    """Offsets before and behind the file, methods and sizes that do not hold, flags."""
    for place in range(content.index(b"PK\x01\x02"), len(content)):
        for value in {0, 12, 255, content[place] ^ 1} - {content[place]}:
            changed = content[:place] + bytes([value]) + content[place + 1 :]
            with suppress(ArgumentError):
                read_weights(written(tmp_path, changed, "bad.npz"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "nowhere.pth")


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_wrappers_are_taken_off(key: str, tmp_path: Path) -> None:
    inner = state_dict({})
    wrapped = b"}" + word("epoch") + number(3) + b"s" + word(key) + inner + b"s"
    assert read_weights(written(tmp_path, archive(pickle_of(wrapped)))) == {}


def test_prefixes_and_old_names(tmp_path: Path) -> None:
    ones = np.ones(2, "f4")
    names = {
        "module.features.denseblock1.denselayer2.norm.1.weight": ones,
        "module.features.denseblock1.denselayer2.conv.2.weight": ones,
        "module.features.transition1.norm.weight": ones,
    }
    with pytest.warns(UserWarning, match=r"weights\.pth: names are read without 'module\.'$"):
        found = read_weights(written(tmp_path, checkpoint(names)))
    assert list(found) == [
        "features.denseblock1.denselayer2.norm1.weight",
        "features.denseblock1.denselayer2.conv2.weight",
        "features.transition1.norm.weight",
    ]
    mixed = written(tmp_path, checkpoint({"module.a": ones, "b": ones}))
    assert list(read_weights(mixed)) == ["module.a", "b"]


# -- writing ---------------------------------------------------------------------------------------


def test_what_is_saved_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.arange(3)})

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space"):
        save_weights(path, {"a": np.zeros(3)})
    assert os.listdir(tmp_path) == ["w.safetensors"]
    same(read_weights(path), {"a": np.arange(3)})


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_the_umasks(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        save_weights(tmp_path / "w", {"a": np.arange(3)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "real")
    save_weights(tmp_path / "link", {"a": np.arange(3)})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real").is_file()


def test_views_and_metadata_are_saved(tmp_path: Path) -> None:
    from safetensors import safe_open

    turned = np.arange(6, dtype="f4").reshape(2, 3).T
    save_weights(tmp_path / "w", {"a": turned, "b": np.float32(3)}, {"epoch": "3"})
    same(read_weights(tmp_path / "w"), {"a": turned, "b": np.array(3)})
    with safe_open(tmp_path / "w", "np") as file:
        assert file.metadata() == {"epoch": "3"}


@pytest.mark.parametrize("array", [np.array(["word"]), np.array([1j]), np.array([None])])
def test_what_is_no_number_is_not_saved(array: Array, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="numbers can be saved"):
        save_weights(tmp_path / "w", {"a": array})
    with pytest.raises(ArgumentError, match="metadata maps words to words"):
        save_weights(tmp_path / "w", {}, {"epoch": 3})  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


# -- into a step -----------------------------------------------------------------------------------


def saved(folder: Path, arrays: dict[str, Array]) -> Path:
    save_weights(folder / "w.safetensors", arrays)
    return folder / "w.safetensors"


def test_all_weights_are_loaded(step: dl.Step, tmp_path: Path) -> None:
    done = load_weights(step, saved(tmp_path, others()))
    same(step.state_dict(), others())
    assert (sorted(done.taken), done.kept, done.unused) == (sorted(others()), (), ())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_said(value: float, step: dl.Step, tmp_path: Path) -> None:
    """By file and name, of an element anywhere; it is loaded as it is."""
    name = "features.0.weight"
    arrays = {**others(), name: others()[name].copy()}
    arrays[name].reshape(-1)[-1] = value
    with pytest.warns(RuntimeWarning, match=rf"w\.safetensors: NaN or infinity in {name}: "):
        load_weights(step, saved(tmp_path, arrays))
    same(step.state_dict(), arrays)


def test_old_files_have_no_counters(step: dl.Step, tmp_path: Path) -> None:
    counter = "features.1.num_batches_tracked"
    arrays = {n: a for n, a in others().items() if n != counter}
    assert load_weights(step, saved(tmp_path, arrays)).kept == (counter,)
    same({n: a for n, a in step.state_dict().items() if n != counter}, arrays)


def test_auxiliary_heads_are_left_out(step: dl.Step, tmp_path: Path) -> None:
    more = others() | {"aux1.fc1.bias": np.zeros(3, "f4"), "aux2.conv.bn.bias": np.zeros(3, "f4")}
    done = load_weights(step, saved(tmp_path, more))
    assert sorted(done.unused) == ["aux1.fc1.bias", "aux2.conv.bn.bias"]


def test_without_strict_what_fits_is_taken(step: dl.Step, tmp_path: Path) -> None:
    before, arrays = step.state_dict(), others()
    arrays["fc.other"] = arrays.pop("fc.bias")
    done = load_weights(step, saved(tmp_path, arrays), strict=False)
    assert (done.kept, done.unused) == (("fc.bias",), ("fc.other",))
    np.testing.assert_array_equal(step.state_dict()["fc.bias"], before["fc.bias"])
    np.testing.assert_array_equal(step.state_dict()["fc.weight"], arrays["fc.weight"])


@pytest.mark.parametrize("classes", [3, 7])
def test_a_new_head_keeps_its_first_values(classes: int, step: dl.Step, tmp_path: Path) -> None:
    """Of other classes, and of as many as before."""
    before, arrays = step.state_dict(), others(classes=classes)
    done = load_weights(step, saved(tmp_path, arrays), new_head=True)
    assert done.kept == ("fc.weight", "fc.bias")
    for name, array in step.state_dict().items():
        expected = before[name] if name.startswith("fc.") else arrays[name]
        np.testing.assert_array_equal(array, expected)


def test_a_new_head_where_there_is_none_is_refused(tmp_path: Path) -> None:
    net = dl.Sequential(dl.Input((4, 4, 2)), dl.Conv2d(3, 4), dl.Flatten())
    step = dl.compile(net, batch=2)
    path = saved(tmp_path, step.state_dict())
    with pytest.raises(ArgumentError, match="does not end in a Linear") as caught:
        load_weights(step, path, new_head=True)
    assert caught.value.hint == "leave new_head out"
    load_weights(step, path)


WRONG: dict[str, tuple[dict[str, Array], dict[str, Any], list[str]]] = {
    "classes": (
        others(classes=7),
        {},
        ["fc.weight: the network has (3, 48), the file (7, 48)", "new_head=True"],
    ),
    "widths": (
        others(width=5),
        {"new_head": True},
        ["features.0.weight: the network has (4, 2, 3, 3), the file (5, 2, 3, 3)", "same widths"],
    ),
    "a bias as a row": (
        others() | {"fc.bias": others()["fc.bias"][None]},
        {},
        ["fc.bias: the network has (3,), the file (1, 3): give them the network's shapes: reshape"],
    ),
    "widths without strict": (others(width=5), {"strict": False}, ["features.0.bias", "and"]),
    "columns of the head": (
        others() | {"fc.weight": np.zeros((7, 40), "f4")},
        {"new_head": True},
        ["fc.weight: the network has (3, 48), the file (7, 40)"],
    ),
    "missing": (
        {n: a for n, a in others().items() if n != "fc.bias"},
        {},
        ["missing fc.bias; unknown none", "strict=False"],
    ),
    "unknown": (others() | {"fc.more": np.zeros(1)}, {}, ["missing none; unknown fc.more"]),
    "another network": ({"layer.w": np.zeros(1)}, {"strict": False}, ["none of the network's"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_changes_nothing(case: str, step: dl.Step, tmp_path: Path) -> None:
    arrays, how, words = WRONG[case]
    before = state_bits(step)
    with pytest.raises(ValueError, match=r"w\.safetensors: ") as caught:
        load_weights(step, saved(tmp_path, arrays), **how)
    assert [w for w in words if w not in str(caught.value)] == [], caught.value
    assert state_bits(step) == before
