"""Files made to do harm, one a name: each makes itself at the place where a reader will look.

`EVERY` is what any reader may meet; the others are a reader's own.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from tests.files.readers import (
    CARD,
    READERS,
    WEIGHTS,
    Reader,
    archive,
    chunk,
    npy,
    plan,
    safetensors,
    state,
    with_digest,
    zipped,
)

Fault = Callable[[Reader, Path], object]


def of(content: bytes | Callable[[], bytes]) -> Fault:
    """A file of these bytes."""

    def made(_: Reader, path: Path) -> None:
        path.write_bytes(content() if callable(content) else content)

    return made


def packed(inner: bytes | Callable[[], bytes]) -> Fault:
    """A file of these bytes in what the reader's format packs them in."""

    def made(reader: Reader, path: Path) -> None:
        path.write_bytes(reader.pack(inner() if callable(inner) else inner))

    return made


def half(reader: Reader, path: Path) -> None:
    whole = reader.pack(reader.build())
    path.write_bytes(whole[: len(whole) // 2])


EVERY: dict[str, Fault] = {
    "a named pipe": lambda _, path: os.mkfifo(path),
    "a device": lambda _, path: path.symlink_to("/dev/zero"),
    "nothing": of(b""),
    "zeros": of(bytes(2**16)),
    "ones": of(b"\xff" * 2**16),
    "brackets": of(b"[" * 2**16),
    "half": half,
}

HARMLESS = {
    ("config", "nothing"): "no flag is given",
    ("config", "half"): "it ends between two lines, or says so",
    ("steps", "nothing"): "a table without rows",
    ("steps", "ones"): "no whole row",
    ("steps", "zeros"): "no whole row",
    ("steps", "brackets"): "no whole row",
    ("steps", "half"): "its whole rows",
    ("blocks", "half"): "the rows that are there",
    ("cifar.bin", "half"): "the first record",
    ("tar", "zeros"): "",
}
"""Where a reader may take what it is given."""

# -- tar -------------------------------------------------------------------------------------------


def header(name: str = "a/0.png", size: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar's header with any size, its checksum right."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size or block[124:136]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block[:512])


def sized(size: int) -> bytes:
    return b"\x80" + size.to_bytes(11, "big")


def blocks(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 512)


def long_name(size: int, kind: bytes = b"L") -> bytes:
    return header("././@LongLink", sized(size), kind)


def pax(key: str, value: str, kind: bytes = b"x") -> bytes:
    body = f" {key}={value}\n".encode()
    size = len(body) + 2
    size = next(n for n in range(size, size + 9) if len(str(n)) + len(body) == n)
    record = str(size).encode() + body
    return header("pax", sized(len(record)), kind) + blocks(record)


def deflated(start: bytes, mebibytes: int) -> bytes:
    """Bytes and so many zeros as deflate has them; a block is made once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * mebibytes + packer.flush()


def gzipped(start: bytes, mebibytes: int) -> bytes:
    """The same as a .gz, whose checksum is wrong: nobody should come that far."""
    return b"\x1f\x8b\x08" + bytes(7) + deflated(start, mebibytes) + bytes(8)


ENDLESS = header(size=sized(2**62))
TARS: dict[str, bytes | Callable[[], bytes]] = {
    "a size of 2^62": ENDLESS,
    "a size of all ones": header(size=b"\xff" * 12),
    "a size of no digits": header(size=b"banana32\0\0\0\0"),
    "an unwanted file of 2^62": header("a/0.txt", sized(2**62)),
    "a name of 2^31": long_name(2**31) + bytes(1024),
    "a pax header of 2^40": header("pax", sized(2**40), b"x") + bytes(1024),
    "chained long names": (long_name(8) + blocks(b"a/0.png\0")) * 3000,
    "chained pax headers": pax("comment", "x") * 3000,
    "a pax size of 2^62": pax("size", str(2**62)) + header() + bytes(1024),
    "a pax size that is none": pax("size", "-5") + header() + bytes(1024),
    "a pax record without end": header("pax", sized(600), b"x") + b"9" * 1024,
    "a pax record of no length": header("pax", sized(600), b"x") + blocks(b"0 a=b\n" * 100),
    "a path of all members": pax("path", "a/0.png", b"g") + header() + bytes(1024),
    "a list of holes without end": header(kind=b"S")[:482] + b"\1" + bytes(29),
    "a name of 5,000 characters": long_name(5000) + blocks(b"a/" + b"b" * 4998) + header(),
    "a path that leads outside": header("../a/0.png") + bytes(1024),
}

# -- npz -------------------------------------------------------------------------------------------


def npy_of(
    text: str, body: bytes = b"", version: bytes = b"\1\0", size: int | None = None
) -> bytes:
    raw = text.encode("latin1")
    length = (len(raw) if size is None else size).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + length + raw + body


def described_npy(descr: str = "'<f4'", shape: str = "(4, 3)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def zip_saying(said: int | None = None) -> bytes:
    """Two arrays that unpack to 1.5 GB each, whose directory says that, or another size."""
    elements = 1500 * 2**20 if said is None else said
    start = npy_of(described_npy("'|u1'", f"({elements},)"))
    packed, local, directory, size = deflated(start, 1500), b"", b"", len(start) + elements
    names = (b"images.npy", b"labels.npy")
    for name in names:
        about = struct.pack("<5H3I2H", 20, 0, 8, 0, 0, 0, len(packed), size, len(name), 0)
        where = struct.pack("<3H2I", 0, 0, 0, 0, len(local))
        directory += b"PK\1\2" + struct.pack("<H", 20) + about + where + name
        local += b"PK\3\4" + about + name + packed
    counts = struct.pack("<4H2IH", 0, 0, 2, 2, len(directory), len(local), 0)
    return local + directory + b"PK\5\6" + counts


NPYS: dict[str, bytes] = {
    "no header": b"\x93NUMPY\1\0",
    "a header of 2^32": npy_of("", version=b"\2\0", size=2**32 - 1),
    "a header longer than the entry": npy_of("{}", size=9999),
    "a version that is none": npy_of(described_npy(), bytes(48), b"\7\0"),
    "brackets in it": npy_of("(" * 9000),
    "minus signs in it": npy_of("-" * 9000 + "1"),
    "tokens that are none": npy_of("{'descr': '''"),
    "a set in it": npy_of("{{}}"),
    "a number for a map": npy_of("7"),
    "a list for a dtype": npy_of(described_npy("[('a', '<f4'), ('a', '<f4')]"), bytes(96)),
    "a map for a dtype": npy_of(described_npy("{}"), bytes(48)),
    "a tuple for a dtype": npy_of(described_npy("('<f4', -1)"), bytes(48)),
    "an object for a dtype": npy_of(described_npy("'|O'"), bytes(96)),
    "a dtype that is none": npy_of(described_npy("'banana32'"), bytes(48)),
    "text": npy_of(described_npy("'<U4'", "(3,)"), bytes(48)),
    "a shape that is none": npy_of(described_npy(shape="'ab'"), bytes(48)),
    "a shape below 0": npy_of(described_npy(shape="(-4, -3)"), bytes(48)),
    "a shape of 40 axes": npy_of(described_npy(shape=f"({'1, ' * 40})"), bytes(4)),
    "a shape of 2^80": npy_of(described_npy(shape=f"(0, {2**40}, {2**40})")),
    "a shape of 2^62": npy_of(described_npy(shape=f"({2**62},)"), bytes(48)),
    "fewer bytes than its shape": npy_of(described_npy(), bytes(47)),
    "more bytes than its shape": npy_of(described_npy(), bytes(49)),
}


def zip_by(method: int) -> bytes:
    arrays = {"a.npy": npy(np.zeros(4)), "images.npy": npy(np.zeros(4)), "labels.npy": b""}
    return zipped(arrays, method)


def twice() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as made:
        warnings.simplefilter("ignore")
        for _ in range(2):
            made.writestr("images.npy", npy(np.zeros(4)))
    return file.getvalue()


ZIPS: dict[str, bytes | Callable[[], bytes]] = {
    "zeros of 1.5 GB": zip_saying,
    "a directory that says less": lambda: zip_saying(100),
    "packed by LZMA": lambda: zip_by(zipfile.ZIP_LZMA),
    "packed by bzip2": lambda: zip_by(zipfile.ZIP_BZIP2),
    "an entry that is there twice": twice,
}

# -- images ----------------------------------------------------------------------------------------


def png_of(width: int, height: int, rows: int, colour: int = 2, depth: int = 8) -> bytes:
    """A PNG of zeros that has some of its rows."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = bytes(1 + (width * depth * channels + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


PNGS: dict[str, bytes | Callable[[], bytes]] = {
    "89 million pixels in 350 kB": lambda: png_of(9459, 9459, 0, 0, 16) + bytes(350_000),
    "pixels beyond 2^62": lambda: png_of(2**31 - 1, 2**31 - 1, 0, 0),
    "no rows": lambda: png_of(32, 32, 0),
    "one row of 32": lambda: png_of(32, 32, 1),
    "all rows but one": lambda: png_of(32, 32, 31, 6),
}

# -- pickles ---------------------------------------------------------------------------------------

TOUCH = b"cposix\nsystem\nX\x0d\x00\x00\x00touch harmful\x85R."
PICKLES: dict[str, bytes] = {
    "sixty pairs that hash for ever": b"\x80\x02}"
    + b")"
    + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
    + b"K\x01s.",
    "a memo of 90 million": b"\x80\x02K\x01r" + struct.pack("<I", 90_000_000) + b".",
    "a call": b"\x80\x02" + TOUCH,
    "a call without a protocol": TOUCH,
    "state of a function": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}X\x01\0\0\0aK\1sb.",
    "an extension": b"\x80\x02\x82\x01.",
    "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "a number of a million digits": b"\x80\x02\x8b"
    + struct.pack("<i", 10**6)
    + b"\x7f" * 10**6
    + b".",
    "a dictionary of what it has not": b"\x80\x02}" + b"}s" * 5000 + b".",
    "lists in lists": b"\x80\x02" + b"]" * 9000 + b"a" * 8999 + b".",
    "an object": pickle.dumps(object(), 2),
    "code by its name": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
}

# -- JSON ------------------------------------------------------------------------------------------


def with_value(raw: bytes, value: Any, *keys: str | int) -> bytes:
    tree = json.loads(raw)
    inner = tree
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return json.dumps(tree).encode()


NESTED = b"[" * 5000 + b"]" * 5000
TEXTS: dict[str, bytes] = {
    "5,000 lists": NESTED,
    "a list": b"[]",
    "a number of 5,000 digits": b"9" * 5000,
    "null": b"null",
    "a word": b'"banana32"',
    "no UTF-8": b'{"a": "\xff"}',
}


def card(value: Any, *keys: str | int) -> bytes:
    return with_value(json.dumps({"about": CARD, "flags": {}}).encode(), value, *keys)


def idx_header(*shape: int) -> bytes:
    return struct.pack(f">I{len(shape)}I", 0x800 + len(shape), *shape)


def layers(op: str, count: int, width: int = 2, shared: bool = False) -> bytes:
    """An ONNX model of so many layers, one behind the other."""
    given = onnx.helper.make_tensor_value_info("v0", 1, [1, width])
    last = onnx.helper.make_tensor_value_info(f"v{count}", 1, [1, width])
    weights = [f"w{0 if shared else i}" for i in range(count)] if op == "Gemm" else []
    nodes = [
        onnx.helper.make_node(op, [f"v{i}", *weights[i : i + 1]], [f"v{i + 1}"], name=f"n{i}")
        for i in range(count)
    ]
    square = np.ones((width, width), np.float32)
    tensors = [onnx.numpy_helper.from_array(square, name) for name in dict.fromkeys(weights)]
    graph = onnx.helper.make_graph(nodes, "graph", [given], [last], tensors)
    opset = onnx.helper.make_opsetid("", 17)
    made: bytes = onnx.helper.make_model(graph, opset_imports=[opset]).SerializeToString()
    return made


OWN: dict[str, dict[str, Fault]] = {
    "tar": {name: of(content) for name, content in TARS.items()},
    "tar.gz": {
        **{name: packed(content) for name, content in TARS.items()},
        "zeros of 1.5 GB as an image": of(lambda: gzipped(header(size=sized(1500 * 2**20)), 1500)),
    },
    "tar.xz": {
        "a size of 2^62": packed(ENDLESS),
        "1.6 GB to be unpacked": of(
            lambda: lzma.compress(
                header(), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 200 * 2**20}]
            )
        ),
    },
    "tar.bz2": {"a size of 2^62": packed(ENDLESS)},
    "npz of images": {
        **{name: packed(content) for name, content in NPYS.items()},
        **{name: of(content) for name, content in ZIPS.items()},
    },
    "npz of weights": {
        **{name: packed(content) for name, content in NPYS.items()},
        **{name: of(content) for name, content in ZIPS.items()},
    },
    "cifar": {name: of(content) for name, content in PICKLES.items()},
    "cifar.bin": {"a label of 32": of(b"\x20" + bytes(3072))},
    "pth": {
        **{name: packed(content) for name, content in PICKLES.items()},
        "a compressed pickle": of(lambda: archive(b"\x80\x02}.", {}, zipfile.ZIP_DEFLATED)),
    },
    "png": {name: of(content) for name, content in PNGS.items()},
    "safetensors": {
        **{
            name: of(len(text).to_bytes(8, "little") + text + b" " * 8)
            for name, text in TEXTS.items()
        },
        "a header of 2^62": of((2**62).to_bytes(8, "little") + b"{}" * 9),
        "metadata that is a list": of(
            lambda: safetensors({}, WEIGHTS).replace(b'{"a', b'{"__metadata__":[],"a', 1)
        ),
    },
    "card": {
        **{name: packed(text) for name, text in TEXTS.items()},
        "about a list": packed(card([], "about")),
        "a model of lists": packed(card([[]], "about", "model")),
        "an image of words": packed(card(["a", "b", "c"], "about", "image")),
        "classes below 1": packed(card(-3, "about", "classes")),
        "an image of 2^40": packed(card([2**40, 2**40, 3], "about", "image")),
        "a std of 0": packed(card([0.0], "about", "std")),
        "a key that is odd": packed(card(1, "about", "odd")),
        "flags that are a word": packed(card("x", "flags")),
        "a path that is a list": packed(card([], "flags", "data_path")),
    },
    "checkpoint": {
        **{name: packed(text) for name, text in TEXTS.items()},
        "a history of words": packed(lambda: with_value(state(), ["x"], "history")),
        "steps that are a list": packed(lambda: with_value(state(), [], "steps")),
        "steps below 0": packed(lambda: with_value(state(), -1, "steps")),
        "another format": packed(lambda: with_value(state(), 9, "format")),
        "no format": packed(b"{}"),
        "flags that are a word": packed(lambda: with_value(state(), "x", "arguments", "flags")),
        "about a word": packed(lambda: with_value(state(), "x", "arguments", "about")),
        "another checksum": of(lambda: with_digest(state()).replace(b"0.5", b"0.6")),
    },
    "plan": {
        **{name: of(text) for name, text in TEXTS.items()},
        "a dtype that is none": of(lambda: with_value(plan(), "banana32", "tensors", 0, "dtype")),
        "an offset of 2^70": of(lambda: with_value(plan(), 2**70, "tensors", 0, "offset")),
        "a box of words": of(lambda: with_value(plan(), ["x"], "tensors", 0, "box")),
        "in_place a number": of(lambda: with_value(plan(), 3, "ops", 0, "in_place")),
        "ops an object": of(lambda: with_value(plan(), {}, "ops")),
    },
    "tuning": {
        **{name: of(text) for name, text in TEXTS.items()},
        "a list for a tile": of(b'{"a": [[], 1]}'),
        "a word for a pair": of(b'{"a": "xy"}'),
        "splits of 10^30": of(b'{"a": ["simt 64x128x16", 1' + b"0" * 30 + b"]}"),
    },
    "config": {
        "5,000 lists": of(b"lr = " + NESTED),
        "5,000 tables": of(b"a" + b".a" * 5000 + b" = 1"),
        "a number of 5,000 digits": of(b"batch-size = " + b"9" * 5000),
        "a date": of(b"batch-size = 1979-05-27"),
        "a budget of 400 digits": of(b'budget = "' + b"9" * 400 + b'"'),
        "no UTF-8": of(b'model = "\xff"'),
    },
    "blocks": {
        "a field of 200,000 letters": of(b"id,lower,upper,size\n" + b"a" * 200_000 + b",0,1,1\n"),
        "a size of 5,000 digits": of(b"id,lower,upper,size\na,0,1," + b"9" * 5000 + b"\n"),
        "no UTF-8": of(b"id,lower,upper,size\n\xff,0,1,1\n"),
    },
    "mnist": {
        "a shape of 2^96": of(struct.pack(">4I", 0x803, *[2**32 - 1] * 3)),
        "a shape without images": of(struct.pack(">4I", 0x803, 0, 2**32 - 1, 2**32 - 1)),
    },
    "mnist.gz": {
        "zeros of 1.5 GB": of(lambda: gzipped(idx_header(1500, 2**10, 2**10), 1500)),
    },
    "onnx": {
        "one tensor for 20,000 layers": of(lambda: layers("Gemm", 20_000, 1000, shared=True)),
    },
}
"""By reader: what it alone may meet. Each is refused."""

LARGE: dict[str, dict[str, Fault]] = {
    "steps": {
        "a field of 200,000 letters": of(b"step\n" + b"a" * 200_000),
        "no UTF-8": of(b"step\n\xff"),
        "a number of 5,000 digits": of(b"step\n" + b"9" * 5000 + b",1,1,1\r\n"),
    },
    "onnx": {
        "8,000 Gemm": of(lambda: layers("Gemm", 8_000)),
        "20,000 Relu": of(lambda: layers("Relu", 20_000)),
    },
    "png": {
        "four million pixels": of(lambda: png_of(2048, 2048, 2048)),
    },
}
"""What is read, within the same limits."""


def named(reader: str, name: str) -> Fault:
    known = {**EVERY, **OWN.get(reader, {}), **LARGE.get(reader, {})}
    return known[name]


def table() -> list[tuple[str, str]]:
    """Reader and fault, all that there are, and then what is large."""
    faults = [(reader, name) for reader in READERS for name in (*EVERY, *OWN.get(reader, {}))]
    return faults + [(reader, name) for reader, files in LARGE.items() for name in files]
