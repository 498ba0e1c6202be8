"""Every reader of a file: a small valid file of its format, and how it is read.

What a format packs (a tar in a .tar.gz, arrays in a .npz, a state in a checkpoint with its digest)
is made anew around what is changed, so that changes reach the inner reader too.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import minidl as dl
from minidl.cli import COMMANDS
from minidl.cli.config import read_config
from minidl.cli.parser import Commands
from minidl.compiler.place.table import read_table as read_blocks
from minidl.data import decode, evaluation, open_data
from minidl.data.decode import opened, seen
from minidl.data.folder import read_image
from minidl.files.fields import parse_json
from minidl.files.opening import read_text
from minidl.files.tables import read_rows
from minidl.interop import export_onnx, import_onnx, read_weights
from minidl.ir import ArgumentError
from minidl.ops.cuda.product import TILES, read_tuning
from minidl.placed.verify.file import check_file
from minidl.predict import ModelCard, Trained
from minidl.train import checkpoint, checkpoint_file
from minidl.train.history import Epoch, History
from minidl.train.log import STEP_KINDS
from tests.data.images import encoded, pixels
from tests.interop.pickled import archive, pickle_of, state_dict, storage, tensor

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Reader:
    """A format. `tree`: what is changed is JSON, a value of it at a time."""

    file: str
    """Its name."""
    build: Callable[[], bytes]
    """A valid one, before it is packed."""
    read: Callable[[Path], object]
    pack: Callable[[bytes], bytes] = bytes
    beside: Callable[[], Files] = field(default=dict)
    """What else is in the folder."""
    tree: bool = False


def plain(array: Any) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def zipped(members: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, raw in members.items():
            made.writestr(name, raw)
    return file.getvalue()


def tar(form: int = tarfile.PAX_FORMAT) -> bytes:
    """Four images in two classes, one with a long name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for i, name in enumerate(("a/0.png", "a/1.png", "b/2.png", f"b/{'n' * 120}.png")):
            info = tarfile.TarInfo(name)
            raw = encoded(pixels(4, 4, i), "PNG")
            info.size, info.mtime = len(raw), 1.5 * i
            made.addfile(info, io.BytesIO(raw))
    return file.getvalue()[: 10 * 1024]


def zip_of_images() -> bytes:
    """Four images in two classes."""
    names = ("a/0.png", "a/1.png", "b/2.png", "b/3.png")
    return zipped({name: encoded(pixels(4, 4, i), "PNG") for i, name in enumerate(names)})


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(content: bytes) -> bytes:
    """A PNG of a header (13 bytes) and rows, whose sums are right."""
    parts = (b"IHDR", content[:13]), (b"IDAT", zlib.compress(content[13:])), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png_content() -> bytes:
    rows = b"".join(b"\1" + row.tobytes() for row in pixels(6, 5))
    return struct.pack(">IIBBBBB", 5, 6, 8, 2, 0, 0, 0) + rows


def see(path: Path) -> None:
    raw = read_image(path)
    decode(raw, str(path))
    image = opened(raw, str(path))
    seen(image, evaluation(4).view(image.height, image.width, ()), str(path))


def look(path: Path) -> None:
    """Open a data set and decode all of it."""
    splits = open_data(path)
    for source in (splits.train, splits.test):
        for index in range(len(source)):
            image = source.read(index)
            if isinstance(image, bytes):
                decode(image, source.name(index))


def look_around(path: Path) -> None:
    look(path.parent)


def cifar(count: int = 2, protocol: int = 2) -> bytes:
    data = np.arange(count * 3072).astype(np.uint8).reshape(count, 3072)
    return pickle.dumps({b"data": data, b"labels": [3] * count, b"names": [b"x"]}, protocol)


def idx(*shape: int) -> bytes:
    return struct.pack(f">I{len(shape)}I", 0x800 + len(shape), *shape) + bytes(int(np.prod(shape)))


def mnist() -> Files:
    names = {"train-images-idx3-ubyte": (4, 3, 3), "train-labels-idx1-ubyte": (4,)}
    names |= {"t10k-images-idx3-ubyte": (4, 3, 3), "t10k-labels-idx1-ubyte": (4,)}
    return {name: idx(*shape) for name, shape in names.items()}


def safetensors(metadata: Mapping[str, str], arrays: Mapping[str, Any]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, array in arrays.items():
        start, data = len(data), data + plain(array)
        about = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, len(data)]}
        entries[name] = about
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + data


WEIGHTS = {"a.weight": np.ones((2, 3), np.float32), "a.bias": np.zeros(2, np.float32)}
CARD = ModelCard("lenet", 3, (32, 32, 1), mean=(1.0,), std=(2.0,), names=("a", "b", "c")).as_dict()


def run_of(path: Path) -> None:
    """All that is read of a checkpoint before it is put into a step."""
    try:
        History.of(checkpoint.read(path)[1].history)
    except ArgumentError as error:
        raise error.at(path) from None  # as `Trainer` does
    Trained.at(path)


def state() -> bytes:
    epoch = Epoch(1, 4, 0.5, 0.1, 0.4, 1.0, 1.0)
    asked = {"about": CARD, "flags": {"data_path": "digits", "seed": 0, "lr": 0.1}}
    words = checkpoint.State(4, 1, 0, 4, 0.1, 0.0, 0, {"worst": 1.0}, History([epoch]).rows())
    words.arguments = asked
    plain_ = {name: value for name, value in vars(words).items() if name != "arrays"}
    return json.dumps({"format": 1, "fingerprint": "f", "ema": False, **plain_}).encode()


def with_digest(words: bytes) -> bytes:
    """A checkpoint with that state, whatever it says; its checksum is right."""
    tensors = {"variables/a": np.ones(2, np.float32)}
    text = words.decode("utf-8", "replace")
    text = text.encode("utf-8", "replace").decode()
    sums = {checkpoint_file.DIGEST: checkpoint_file.digest(tensors, text)}
    return safetensors({checkpoint_file.STATE: text, **sums}, tensors)


def described(words: bytes) -> bytes:
    """Weights whose header says so much about them."""
    return safetensors({"minidl": words.decode("utf-8", "replace")}, WEIGHTS)


@cache
def plan() -> bytes:
    net = dl.models.lenet(3, (28, 28, 1))
    return json.dumps(dl.plan(net, 2, slices=2, device="cuda").to_dict()).encode()


@cache
def network() -> bytes:
    layers = dl.Conv2d(2, 3), dl.BatchNorm2d(), dl.ReLU(), dl.MaxPool2d(2), dl.Flatten()
    net = dl.Sequential(dl.Input((6, 6, 1)), *layers, dl.Linear(3))
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(net, dl.compile(net, 1), Path(folder) / "m.onnx")
        return (Path(folder) / "m.onnx").read_bytes()


def pth() -> bytes:
    tensors = {"a.weight": tensor(storage("0", 6), (2, 3), (3, 1))}
    return pickle_of(state_dict(tensors | {"a.bias": tensor(storage("0", 6), (2,), (2,), 1)}))


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(9, 8)).save(file, "JPEG")
    return file.getvalue()


@cache
def commands() -> Commands:
    return Commands(COMMANDS)


TUNING = {"simt m64 n576 k802816 g1": [TILES[0].name, 1], "tf32 m1 n2 k3 g1": [TILES[1].name, 1]}
CONFIG = b'model = "lenet"\nbatch-size = 4\nmean = [0.5, 1]\n[plan]\nbudget = "1GiB"\namp = false\n'
BLOCKS = b"id,lower,upper,size\na,0,3,16\nb,1,2,32\n"
STEPS = b"steps,epoch,loss,learning_rate\r\n1,0,0.5,0.1\r\n2,0,0.25,0.1\r\n"

READERS: dict[str, Reader] = {
    "cifar": Reader(
        "data_batch_1", cifar, look_around, beside=lambda: {"test_batch": cifar(1, 4)}
    ),
    "cifar.bin": Reader(
        "data_batch_1.bin", lambda: bytes(3073 * 2), look_around,
        beside=lambda: {"test_batch.bin": bytes(3073)},
    ),
    "mnist": Reader(
        "train-images-idx3-ubyte", lambda: idx(4, 3, 3), look_around, beside=mnist
    ),
    "mnist.gz": Reader(
        "train-images-idx3-ubyte.gz", lambda: idx(4, 3, 3), look_around, gzip.compress,
        lambda: {k: v for k, v in mnist().items() if k != "train-images-idx3-ubyte"},
    ),
    "tar": Reader("x.tar", tar, look),
    "zip": Reader("x.zip", zip_of_images, look),
    "tar.gz": Reader("x.tar.gz", partial(tar, tarfile.GNU_FORMAT), look, gzip.compress),
    "tar.xz": Reader("x.tar.xz", tar, look, lzma.compress),
    "tar.bz2": Reader("x.tar.bz2", tar, look, bz2.compress),
    "npz of images": Reader(
        "x.npz", lambda: npy(np.zeros((4, 3, 3, 1), np.uint8)), look,
        lambda raw: zipped({"images.npy": raw, "labels.npy": npy(np.arange(4) % 2)}),
    ),
    "npz of weights": Reader(
        "w.npz", lambda: npy(np.ones((2, 3), np.float32)), read_weights,
        lambda raw: zipped({"a.npy": raw, "b.npy": npy(np.arange(4))}),
    ),
    "pth": Reader(
        "w.pth", pth, read_weights, lambda raw: archive(raw, {"0": bytes(24)})
    ),
    "safetensors": Reader("w.safetensors", lambda: safetensors({}, WEIGHTS), read_weights),
    "card": Reader(
        "w.safetensors", lambda: json.dumps({"about": CARD, "flags": {"seed": 0}}).encode(),
        Trained.at, described, tree=True,
    ),
    "checkpoint": Reader("checkpoint-00000004.safetensors", state, run_of, with_digest, tree=True),
    "png": Reader("x.png", png_content, see, png),
    "jpeg": Reader("x.jpg", jpeg, see),
    "onnx": Reader("m.onnx", network, import_onnx),
    "plan": Reader(
        "plan.json", plan, lambda path: check_file(parse_json(read_text(path))), tree=True
    ),
    "tuning": Reader("t.json", lambda: json.dumps(TUNING).encode(), read_tuning, tree=True),
    "config": Reader(
        "run.toml", lambda: CONFIG, lambda path: read_config(path, "plan", commands())
    ),
    "blocks": Reader(
        "blocks.csv", lambda: BLOCKS, lambda path: read_blocks(read_text(path), str(path))
    ),
    "steps": Reader("steps.csv", lambda: STEPS, lambda path: list(read_rows(path, STEP_KINDS))),
}  # fmt: skip
