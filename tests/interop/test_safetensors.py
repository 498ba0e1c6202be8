"""The header of .safetensors: every rule that a hostile or damaged file breaks is named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save

from minidl.files.safetensors import DTYPES as KNOWN
from minidl.files.safetensors import read_header
from minidl.interop import read_weights, save_weights
from minidl.ir import ArgumentError
from tests.interop.pickled import written


def made(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype: str, shape: list[Any], start: Any, stop: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


ONE = entry("F32", [1], 0, 4)
FOUR = bytes(4)
DTYPES = {own: dtype for own, dtype in KNOWN.items() if "16" not in own or own[0] in "IU"}
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "neither .safetensors"),
    "huge header": (made(b"{}", length=2**63), "does not begin as"),
    "header of 100 MB and a byte": (made(b"{}", bytes(64), 100_000_001), "does not begin as"),
    "longer than the file": (
        made({"a": ONE}, FOUR, 200),
        "header alone has 200 bytes, the file 1?[0-9]+: it is damaged or cut short",
    ),
    "no JSON": (made(b"{a}"), "no JSON"),
    "no UTF-8": (made(b'{"\xff": 1}'), "no JSON"),
    "nested": (made(b'{"a":' + b"[" * 10**6), "nested too deeply|no JSON"),
    "nested maps": (made(b'{"a":' * 10**6), "nested too deeply|no JSON"),
    "NaN": (made(b'{"a": NaN}'), "no number of JSON"),
    "a long number": (made(b'{"a": 1' + b"0" * 10**5 + b"}"), "no JSON|needs dtype"),
    "twice": (made(b'{"a": 1, "a": 2}'), "'a' is there twice"),
    "twice inside": (
        made(b'{"a": {"dtype": "F32", "dtype": "F64", "shape": [], "data_offsets": [0, 4]}}'),
        "'dtype' is there twice",
    ),
    "metadata": (made({"__metadata__": {"a": 1}}), "__metadata__"),
    "no map": (made({"a": 1}), "needs dtype"),
    "more keys": (made({"a": {**ONE, "more": 1}}, FOUR), "needs dtype"),
    "fewer keys": (made({"a": {"dtype": "F32", "shape": [1]}}, FOUR), "needs dtype"),
    "unknown dtype": (made({"a": entry("F8_E4M3", [1], 0, 1)}, b"x"), "'F8_E4M3'.*BF16"),
    "negative shape": (made({"a": entry("F32", [-1], 0, 4)}, FOUR), "whole numbers"),
    "shape of words": (made({"a": entry("F32", ["1"], 0, 4)}, FOUR), "whole numbers"),
    "shape of bools": (made({"a": entry("F32", [True], 0, 4)}, FOUR), "whole numbers"),
    "shape of floats": (made({"a": entry("F32", [1.0], 0, 4)}, FOUR), "whole numbers"),
    "shape beyond 2^64": (made({"a": entry("F32", [2**64, 0], 0, 0)}), "whole numbers"),
    "product beyond 2^64": (made({"a": entry("F32", [2**62, 4], 0, 0)}), "span 0"),
    "negative offset": (made({"a": entry("F32", [1], -4, 0)}, FOUR), "data_offsets"),
    "backwards": (made({"a": entry("F32", [1], 4, 0)}, FOUR), "span -4"),
    "too short": (made({"a": entry("F32", [2], 0, 4)}, FOUR), r"\(2,\) has 8 bytes.*span 4"),
    "outside": (made({"a": entry("F32", [1], 4, 8)}, FOUR), "leaves a gap"),
    "overlap": (
        made({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)),
        "'b' at byte 4 overlaps",
    ),
    "the same bytes": (made({"a": ONE, "b": ONE}, FOUR), "'b' at byte 0 overlaps"),
    "gap": (made({"a": ONE, "b": entry("F32", [1], 8, 12)}, bytes(12)), "'b' at byte 8 leaves"),
    "more data": (made({"a": ONE}, bytes(8)), "4 bytes, the file has 8"),
    "truncated": (made({"a": ONE}, bytes(3)), "4 bytes, the file has 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_rule_is_named(case: str, tmp_path: Path) -> None:
    content, message = BAD[case]
    with pytest.raises(ArgumentError, match=message) as caught:
        read_weights(written(tmp_path, content, "w.safetensors"))
    assert "w.safetensors: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("dtype", [*DTYPES.values(), "f2"])
def test_files_of_the_library_itself(dtype: str, tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6).reshape(2, 3).astype(dtype),
        "scalar": np.array(1, dtype),
        "empty": np.empty((0, 3), dtype),
    }
    found = read_weights(written(tmp_path, save(arrays, {"made": "here"})))
    assert sorted(found) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == ("f4" if dtype == "f2" else dtype)


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    arrays = {
        f"{i} {dtype}": np.arange(3 + i).astype(dtype)
        for i, dtype in enumerate(["?", "f4", "u1", *DTYPES.values(), "f2"])
    }
    arrays |= {"turned": np.arange(6.0).reshape(2, 3).T, "scalar": np.array(1, "i2")}
    arrays |= {"big": np.arange(3, dtype=">f4"), "empty": np.empty((0, 2), "f4")}
    save_weights(tmp_path / "w", arrays, {"made": "here"})
    found = load_file(tmp_path / "w")
    assert sorted(found) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=")
    header = read_header(tmp_path / "w")
    assert header.metadata == {"made": "here"}
    assert header.origin % 8 == 0
    for each in header.entries:
        assert each.start % np.dtype(KNOWN[each.dtype]).itemsize == 0, each


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    header = {"a": entry("BF16", [2], 0, 4)}
    found = read_weights(written(tmp_path, made(header, b"\x80\x3f\x00\xc0")))
    np.testing.assert_array_equal(found["a"], [1, -2])
    assert found["a"].dtype == np.float32


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_reads_as_the_library_does(
    place: int, value: int, tmp_path: Path
) -> None:
    content = bytearray(save({"a": np.ones((2, 3), "f4"), "b": np.ones(4, "i8")}))
    content[place % len(content)] = value
    try:
        found = read_weights(written(tmp_path, bytes(content)))
    except ArgumentError:
        return
    try:
        expected = load(bytes(content))
    except SafetensorError as error:
        raise AssertionError("the library refuses it") from error
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.astype("f4" if a.dtype == np.float16 else a.dtype).tobytes()
        for n, a in expected.items()
    }
