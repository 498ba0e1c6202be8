"""PyTorch's files, read without PyTorch: what it saves comes out, and nothing is ever executed."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl.files.pickle import Allowed, read_pickle
from minidl.interop import read_weights
from minidl.ir import ArgumentError
from tests.interop.pickled import (
    EMPTY,
    archive,
    bits,
    called,
    checkpoint,
    name,
    number,
    numbers,
    pickle_of,
    several,
    state_dict,
    storage,
    tensor,
    word,
    written,
)

TINY = Path(__file__).with_name("tiny.pth")
FOUR = np.arange(4, dtype="<f4")
DATA = {"0": FOUR.tobytes()}


def test_a_file_of_pytorch_itself() -> None:
    """Written by `make_tiny`: wrapped, in all dtypes, turned, a Parameter, a scalar."""
    found = read_weights(TINY)
    counted = np.arange(6).reshape(2, 3)
    shapes = {"0.weight": (3, 2, 2, 2), "1.num_batches_tracked": (), "3.weight": (2, 3)}
    for own, shape in shapes.items():
        position = list(found).index(own)
        expected = np.arange(np.prod(shape, dtype=int)).reshape(shape) - 3 + 100 * position
        np.testing.assert_array_equal(found[own], expected)
    assert found["1.num_batches_tracked"].dtype == np.int64
    dtypes = {"float64": "f8", "float16": "f4", "bfloat16": "f4", "int32": "i4", "int16": "i2"}
    for own, dtype in dtypes.items():
        assert found[f"torch.{own}"].dtype == dtype
        np.testing.assert_array_equal(found[f"torch.{own}"], counted)
    np.testing.assert_array_equal(found["turned"], counted.T)
    np.testing.assert_array_equal(found["parameter"], counted[1])
    np.testing.assert_array_equal(found["number"], 7)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in found.values())


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_file_made_by_hand(order: str, tmp_path: Path) -> None:
    arrays = {"a": np.ones((2, 3), "f4"), "b": np.array(2, "f4"), "c": np.empty((0, 2))}
    found = read_weights(written(tmp_path, checkpoint(arrays, order)))
    assert list(found) == list(arrays)
    for own, array in arrays.items():
        np.testing.assert_array_equal(found[own], array)
        assert found[own].dtype == np.float32


def test_views_of_one_storage(tmp_path: Path) -> None:
    shared = storage("0", 4)
    tensors = {
        "whole": tensor(shared, (2, 2), (2, 1)),
        "turned": tensor(shared, (2, 2), (1, 2)),
        "last": tensor(shared, (2,), (1,), offset=2),
        "every other": tensor(shared, (2,), (2,), offset=1),
    }
    found = read_weights(written(tmp_path, archive(pickle_of(state_dict(tensors)), DATA)))
    expected = {"whole": [[0, 1], [2, 3]], "turned": [[0, 2], [1, 3]], "last": [2, 3]}
    for own, values in {**expected, "every other": [1, 3]}.items():
        np.testing.assert_array_equal(found[own], values)
    found["whole"][...] = 9
    np.testing.assert_array_equal(found["last"], [2, 3])


# -- nothing is executed ---------------------------------------------------------------------------


class Evil:
    """What Python's own unpickler would run."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def attacks(canary: Path) -> dict[str, bytes]:
    touch = word(f"touch {canary}")
    system, path = name("posix", "system"), str(canary)
    return {
        "reduce": called(system, touch),
        "os.system": called(name("os", "system"), touch),
        "eval": called(name("builtins", "eval"), word(f"open({path!r}, 'w')")),
        "stack global": short("os") + short("system") + b"\x93" + several(touch) + b"R",
        "inst": b"(" + touch + b"ios\nsystem\n",
        "obj": b"(" + system + touch + b"o",
        "newobj": system + several(touch) + b"\x81",
        "newobj_ex": system + several(touch) + b"}\x92",
        "ext1": b"\x82\x01",
        "ext2": b"\x83\x01\x00",
        "ext4": b"\x84\x01\x00\x00\x00",
        "persid": b"Pos.system\n",
        "dotted": called(name("collections", "os.system"), touch),
        "dotted stack global": short("collections") + short("OrderedDict.fromkeys") + b"\x93",
        "dotted module": called(name("collections.abc.os", "system"), touch),
        "getattr": called(name("builtins", "getattr"), name("torch", "FloatStorage"), word("x")),
        "getattr of a word": called(name("torch", "Size.__class__"), touch),
        "torch.load": called(name("torch", "load"), word(path)),
        "storage of bytes": called(name("torch.storage", "_load_from_bytes"), b"C\x01x"),
        "numpy": called(name("numpy.core.multiarray", "_reconstruct"), number(0)),
        "partial": called(name("functools", "partial"), system, touch),
        "call of a storage": called(name("torch", "FloatStorage"), number(4)),
        "call of a word": called(word("os.system"), touch),
        "build on a name": name("torch", "FloatStorage") + b"}" + word("x") + number(1) + b"sb",
        "build on a dict": b"}}" + word("__setstate__") + system + b"sb",
        "build on a list": b"]}b",
        "build with slots": EMPTY + several(b"}", b"}") + b"b",
        "setstate": EMPTY + b"}" + word("__setstate__") + system + b"sb",
        "ordered of pairs": called(name("collections", "OrderedDict"), b"]"),
        "a name that is no word": number(1) + number(2) + b"\x93",
        "pop": EMPTY + b"0" + EMPTY,
        "dup": EMPTY + b"2",
        "frozenset": b"(" + number(1) + b"\x91",
        "bytearray": b"\x96" + struct.pack("<Q", 1) + b"x",
        "buffer": b"\x97",
        "int as text": b"I1\n",
        "long": b"L1L\n",
        "unicode as text": b"Vword\n",
    }


@pytest.mark.parametrize("attack", attacks(Path("canary")))
def test_nothing_is_executed(attack: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = written(tmp_path, archive(pickle_of(attacks(canary)[attack])))
    with pytest.raises(ArgumentError, match=r"weights\.pth: ") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert not canary.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Python's unpickler runs them; ours names the function."""
    canary = tmp_path / "canary"
    evil = pickle.dumps(Evil(os.system, f"touch {canary}"), 2)
    pickle.loads(evil)
    assert canary.exists()
    canary.unlink()
    for protocol in range(2, 6):
        evil = pickle.dumps({"a": Evil(os.system, f"touch {canary}")}, protocol)
        with pytest.raises(
            ArgumentError, match=r"names '(posix|nt)\.system'.*nothing was executed"
        ):
            read_weights(written(tmp_path, archive(evil)))
    assert not canary.exists()


def test_a_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    module = name("torchvision.models.resnet", "ResNet") + b")\x81"
    with pytest.raises(ArgumentError, match=r"'torchvision\.models\.resnet\.ResNet'.*state_dict"):
        read_weights(written(tmp_path, archive(pickle_of(module))))


BOMBS = {
    "laughs": b"(]" + (b"q\x00(" + b"h\x00" * 100 + b"l") * 30 + b"t",
    "nested tuples as a key": b")" + b"q\x00h\x00\x86" * 60 + b"q\x00}h\x00Ns",
    "deep": b"(" * 100_000 + b"l" * 100_000,
    "a list that holds itself": b"]q\x00h\x00a",
    "keys that hash alike": b"}(" + b"\x8a\x08" + struct.pack("<q", 2**61 - 1) + b"Nu",
    "a word of 2^63 bytes": b"\x8d" + struct.pack("<Q", 2**63),
    "a long of 2^31 bytes": b"\x8b" + struct.pack("<i", 2**31 - 1),
}
DUDS = {
    "memo at 2^32": EMPTY + b"r\xff\xff\xff\xff",
    "a frame of 2^63 bytes": b"\x95" + struct.pack("<Q", 2**63) + EMPTY,
    "laughs beside": b"}" + word("state_dict") + EMPTY + b"s" + word("x") + BOMBS["laughs"] + b"s",
}
"""What costs no more than its own length here."""


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(bomb: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_weights(written(tmp_path, archive(pickle_of(BOMBS[bomb]))))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("dud", DUDS)
def test_duds(dud: str, tmp_path: Path) -> None:
    assert read_weights(written(tmp_path, archive(pickle_of(DUDS[dud])))) == {}


def test_a_pickle_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"16,777,2\d\d are allowed"):
        read_weights(written(tmp_path, archive(pickle_of(b"N" * 2**24))))


PROTOCOLS = {
    "none": EMPTY + b".",
    "0": b"\x80\x00" + EMPTY + b".",
    "6": b"\x80\x06" + EMPTY + b".",
    "twice": b"\x80\x02\x80\x02" + EMPTY + b".",
    "no end": b"\x80\x02" + EMPTY,
    "two values": b"\x80\x02" + EMPTY + EMPTY + b".",
    "something behind": b"\x80\x02" + EMPTY + b".N",
    "nothing": b"",
    "only an end": b"\x80\x02.",
    "a mark": b"\x80\x02(.",
    "no mark": b"\x80\x02t.",
    "no such memory": b"\x80\x02h\x07.",
    "a key alone": b"\x80\x02}(Nu.",
    "items of a list": b"\x80\x02](" + word("a") + b"Nu.",
    "append to a dict": b"\x80\x02}Na.",
    "unknown opcode": b"\x80\x02\xff.",
}


@pytest.mark.parametrize("case", PROTOCOLS)
def test_pickles_that_are_none(case: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="its pickle"):
        read_weights(written(tmp_path, archive(PROTOCOLS[case])))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with suppress(ArgumentError):
        read_pickle(b"\x80\x02" + data, Allowed({}, persistent=lambda _: None))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(place: int, value: int, tmp_path: Path) -> None:
    content = bytearray(TINY.read_bytes())
    content[place % len(content)] = value
    with suppress(ArgumentError):
        read_weights(written(tmp_path, bytes(content)))


# -- tensors that lie ------------------------------------------------------------------------------

S4 = storage("0", 4)
LIES: dict[str, tuple[bytes, str]] = {
    "past the end": (tensor(S4, (5,), (1,)), "does not lie in its storage"),
    "offset": (tensor(S4, (2,), (1,), offset=3), "does not lie in its storage"),
    "negative offset": (tensor(S4, (2,), (1,), offset=-1), "no storage"),
    "stride": (tensor(S4, (2, 2), (3, 1)), "does not lie in its storage"),
    "negative stride": (tensor(S4, (2,), (-1,), offset=1), "no whole numbers"),
    "negative shape": (tensor(S4, (-1,), (1,)), "no whole numbers"),
    "expanded": (tensor(S4, (2**30, 2**30), (0, 0)), "does not lie in its storage"),
    "overlapping": (tensor(S4, (3, 3), (1, 0)), "does not lie in its storage"),
    "ranks differ": (tensor(S4, (2, 2), (1,)), "shape"),
    "a bool in the shape": (
        called(
            name("torch._utils", "_rebuild_tensor_v2"),
            *(S4, number(0), several(b"\x88"), numbers((1,)), b"\x89", EMPTY),
        ),
        "no whole numbers",
    ),
    "an unknown bit": (tensor(S4, (4,), (1,), 0, bits(neg=True, odd=True)), "the bits odd"),
    "bits that are no map": (tensor(S4, (4,), (1,), 0, number(1)), "no map of booleans"),
    "bits that are no booleans": (
        tensor(S4, (4,), (1,), 0, b"}(" + word("neg") + number(1) + b"u"),
        "no map of booleans",
    ),
    "booleans times -1": (
        tensor(storage("0", 16, "BoolStorage"), (16,), (1,), 0, bits(neg=True)),
        "negative bit",
    ),
    "empty, and beyond 2^63": (tensor(S4, (0, *[2**31 - 1] * 3), (1,) * 4), "nothing can have"),
    "33 axes": (tensor(S4, (1,) * 33, (1,) * 33), "shape"),
    "hooks": (
        called(
            name("torch._utils", "_rebuild_tensor_v2"),
            *(S4, number(0), numbers((1,)), numbers((1,)), b"\x89", b"](Ne"),
        ),
        "hooks",
    ),
    "few arguments": (called(name("torch._utils", "_rebuild_tensor_v2"), S4), "1 arguments"),
    "no storage": (tensor(word("0"), (1,), (1,)), "no storage"),
    "larger than its entry": (tensor(storage("0", 5), (5,), (1,)), "20? bytes|16 bytes"),
    "smaller than its entry": (tensor(storage("0", 3), (3,), (1,)), "16 bytes"),
    "another type": (tensor(storage("0", 4, "DoubleStorage"), (4,), (1,)), "8 bytes"),
    "missing": (tensor(storage("7", 4), (4,), (1,)), "'7' is missing"),
    "key that leads elsewhere": (tensor(storage("../0", 4), (4,), (1,)), "unknown way"),
    "negative size": (tensor(storage("0", -4), (0,), (1,)), "unknown way"),
    "unknown storage": (tensor(storage("0", 4, "QInt8Storage"), (4,), (1,)), "QInt8Storage"),
    "a number as persistent id": (number(3) + b"Q", "no storage"),
    "no tensor": (number(3), "is no tensor"),
    "parameter of no tensor": (
        called(name("torch._utils", "_rebuild_parameter"), number(1), b"\x89", EMPTY),
        "no tensor",
    ),
    "size of no tuple": (called(name("torch", "Size"), number(1)), "no tuple"),
}


@pytest.mark.parametrize("lie", LIES)
def test_tensors_that_lie(lie: str, tmp_path: Path) -> None:
    value, message = LIES[lie]
    path = written(tmp_path, archive(pickle_of(state_dict({"w": value})), DATA))
    with pytest.raises(ArgumentError, match=message):
        read_weights(path)


@pytest.mark.parametrize(("set_bits", "sign"), [({}, 1), ({"neg": True}, -1), ({"conj": True}, 1)])
def test_bits_that_say_how_elements_are_meant(
    set_bits: dict[str, bool], sign: int, tmp_path: Path
) -> None:
    """`torch.save` keeps the elements of x.conj().imag as they are in memory, and a bit."""
    value = tensor(S4, (2,), (2,), 1, bits(**set_bits))
    raw = np.array([1, 2, 3, -4], "<f4").tobytes()
    path = written(tmp_path, archive(pickle_of(state_dict({"w": value})), {"0": raw}))
    assert read_weights(path)["w"].tolist() == [2 * sign, -4 * sign]


def test_many_tensors_of_one_storage(tmp_path: Path) -> None:
    """A small file must not become a large state dict."""
    size, shared = 1000, storage("0", 1000)
    tensors = {str(i): tensor(shared, (size,), (1,)) for i in range(17)}
    path = written(tmp_path, archive(pickle_of(state_dict(tensors)), {"0": bytes(4 * size)}))
    with pytest.raises(ArgumentError, match="more than 16 times"):
        read_weights(path)


def test_one_storage_described_twice(tmp_path: Path) -> None:
    tensors = {"a": tensor(S4, (4,), (1,)), "b": tensor(storage("0", 2), (2,), (1,))}
    with pytest.raises(ArgumentError, match="in two ways"):
        read_weights(written(tmp_path, archive(pickle_of(state_dict(tensors)), DATA)))


# -- archives that lie -----------------------------------------------------------------------------

GOOD = pickle_of(state_dict({"w": tensor(S4, (4,), (1,))}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(GOOD, DATA, zipfile.ZIP_DEFLATED), "is compressed"),
        (archive(GOOD, DATA, **{"../evil": b""}), "leads elsewhere"),
        (archive(GOOD, DATA, **{"/evil": b""}), "leads elsewhere"),
        (archive(GOOD, DATA, **{"archive/..\\evil": b""}), "leads elsewhere"),
        (archive(GOOD, DATA, **{"other/file": b""}), "one folder with a data.pkl"),
        (archive(GOOD, DATA, **{"archive/constants.pkl": b""}), "TorchScript"),
        (archive(GOOD, DATA, **{"archive/byteorder": b"middle"}), "byte order"),
        (archive(GOOD, DATA)[:-30], "damaged"),
        (archive(GOOD, DATA).replace(FOUR.tobytes(), bytes(16)), "damaged"),
        (archive(pickle_of(b"]"), DATA), "holds a list, no state dict"),
    ],
    ids=[
        "deflated",
        "above",
        "root",
        "backslash",
        "elsewhere",
        "script",
        "order",
        "cut",
        "bits",
        "list",
    ],
)
def test_archives_that_lie(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        read_weights(written(tmp_path, content))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="twice"):
        read_weights(written(tmp_path, archive(GOOD, DATA, **{"archive/data.pkl": GOOD})))


def test_a_directory_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """The sizes in the central directory are raised to 4 GB."""
    content = bytearray(archive(GOOD, DATA))
    start = content.rindex(b"PK\x01\x02")
    content[start + 20 : start + 28] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    with pytest.raises(ArgumentError, match=r"larger than the file|damaged"):
        read_weights(written(tmp_path, bytes(content)))


def test_entries_over_each_other(tmp_path: Path) -> None:
    """The last entry of the directory points at the first one's bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", GOOD)
        made.writestr("archive/data.pkk", GOOD)
    content = bytearray(file.getvalue())
    start = content.rindex(b"PK\x01\x02")
    content[start + 42 : start + 46] = struct.pack("<I", 0)
    with pytest.raises(ArgumentError, match=r"overlaps|damaged"):
        read_weights(written(tmp_path, bytes(content)))
