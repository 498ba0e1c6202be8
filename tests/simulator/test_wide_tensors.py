"""Offsets of 64 bits: every op that takes images whose pixels lie apart, on tensors of more than
2^31 elements of which it has some channels. Its bits are those on tensors of its own.

The memory is only reserved: a page comes when it is touched, so that 100 GiB cost a few MiB.
An offset that is cut to 32 bits, with a sign or without, lands elsewhere inside of it.
"""

from __future__ import annotations

import mmap
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.checkout import kernels_folder
from minidl.devices.kernels import bind, unit_of
from minidl.ir import Array, Op, Tensor, part_of
from minidl.ir.bfloat16 import to_bfloat16
from minidl.ir.tensor import host_dtype
from minidl.ops.cuda import launches_of
from tests.simulator.bench import prepare_case
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import BATCH

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is reserved as Linux does it"),
]

NO_RESERVE = 0x4000
"""MAP_NORESERVE of Linux; the module mmap has its name from Python 3.13 on."""
MARGIN = 2**34
"""Bytes in front and behind: an offset of -2^31 elements stays inside."""
MOST = 2**33
"""Elements of a wide tensor at most."""


def wide(t: Tensor) -> Tensor:
    """The last channels but some of a tensor that is as wide as offsets of its rows allow, which
    have 31 bits; the tensor itself where it is no image, or still has no 2^31 elements."""
    if t.view_of is not None or t.kind not in ("activation", "gradient") or len(t.shape) != 4:
        return t
    n, h, w, c = t.shape
    pitch = min((2**31 - 1) // w, MOST // (n * h * w)) // 64 * 64
    if n * h * w * pitch <= 2**31:
        return t
    low = (pitch - c) // 64 * 64
    return part_of(Tensor(t.name, (n, h, w, pitch), t.dtype, t.kind), 3, low, low + c, t.name)


class Reserved:
    """A place for each tensor of an op, as `tests.simulator.bench.Ground` has it, in bytes that are
    reserved only."""

    def __init__(self, op: Op, memory: Array) -> None:
        self.ops, self.memory, self.places = (op,), memory, dict[Tensor, int]()
        end = MARGIN
        for t in dict.fromkeys(t.storage for t in (*op.writes, *op.reads)):
            self.places[t] = end
            end += -(-t.nbytes // 256) * 256

    @property
    def graph(self) -> Reserved:
        return self

    def offset(self, t: Tensor) -> int:
        return self.places[t.storage] + t.start

    def raw(self, t: Tensor) -> Array:
        start, whole = self.places[t.storage], t.storage
        bytes_of_it = self.memory[start : start + whole.nbytes]
        array = bytes_of_it.view(host_dtype(t.dtype)).reshape(whole.shape)
        if t.region is None:
            return array.reshape(t.shape)
        return array[tuple(slice(low, high) for low, high in t.region)]


@contextmanager
def reserved(nbytes: int) -> Iterator[Array]:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    memory = mmap.mmap(-1, nbytes, flags=flags)
    yield np.frombuffer(memory, np.uint8)
    # unmapped when the last array is gone


Values = dict[Tensor, Array]


def renewed(op: Op, new: Callable[[Tensor], Tensor]) -> Op:
    """The op on new tensors."""
    parts = {t: new(t) for t in (*op.writes, *op.reads)}
    return op.substituted(lambda t: parts.get(t, t))


def bits(op: Op, values: Values, device: SimulatedDevice, new: Callable[[Tensor], Tensor]) -> bytes:
    """What the op writes where each of its tensors is the new one."""
    there = renewed(op, new)
    parts = dict(zip((*op.writes, *op.reads), (*there.writes, *there.reads), strict=True))
    size = 2 * MARGIN + sum(t.storage.nbytes + 256 for t in (*there.writes, *there.reads))
    with reserved(size) as memory:
        ground = Reserved(there, memory)
        for t in op.writes:
            ground.raw(parts[t])[...] = np.frombuffer(b"\xff" * 8, host_dtype(t.dtype))[0]
        for t in op.reads:
            ground.raw(parts[t])[...] = values[t]
        for call in bind(ground, memory.ctypes.data, device):  # type: ignore[arg-type]
            call()
        return b"".join(ground.raw(parts[t]).tobytes() for t in op.writes if t.kind != "scratch")


def same(t: Tensor) -> Tensor:
    return t


def takes_wide(op: Op) -> bool:
    return op.contract.strided and any(wide(t) is not t for t in (*op.writes, *op.reads))


def ops_of_case(name: str, precision: str) -> Iterator[tuple[Op, Values]]:
    """Each op of a layer that takes wide images, with what it reads in a step."""
    prepared = prepare_case(CASES[name], precision)
    ground = prepared.ground
    for op in prepared.ops:
        if takes_wide(op):
            yield op, {t: ground.raw(t).copy() for t in op.reads}
        ground.ops = (op,)
        ground.run(SimulatedDevice(seed=1))


def ops_of_network(name: str, precision: str) -> Iterator[tuple[Op, Values]]:
    """Each op of a step in mode arena that takes wide images, fused ones among them."""
    plan = dl.plan(NETWORKS[name](), BATCH, device="cuda", precision=precision)
    for op in plan.graph.ops:
        if takes_wide(op):
            yield op, {t: random_values(t) for t in op.reads}


def random_values(t: Tensor) -> Array:
    generator = np.random.default_rng()
    if t.integer:
        return generator.integers(0, 4, t.shape).astype(t.dtype)
    values = generator.normal(size=t.shape).astype(np.float32)
    return to_bfloat16(values) if t.dtype == "bfloat16" else values


def differences(ops: Iterable[tuple[Op, Values]], device: SimulatedDevice) -> list[str]:
    """Ops whose bits are others when their images are parts of wide tensors."""
    ops = list(ops)
    device.prepare([unit_of(launch) for op, _ in ops for launch in launches_of(renewed(op, wide))])
    return [
        op.name
        for op, values in ops
        if bits(op, values, device, wide) != bits(op, values, SimulatedDevice(), same)
    ]


CASES = {name: case for name, (_, case) in zip(IDS, TABLE, strict=True)}
FAST = {
    *("conv2d-3x3", "conv2d-groups", "conv2d-stride-2", "conv2d-1x1"),
    *("pool2d-max-3-by-1", "pool2d-avg-2", "batchnorm2d-batchnorm", "activation-relu"),
}
DEVICE = SimulatedDevice(seed=1)


def slow_but(fast: set[str], names: list[str]) -> list[Any]:
    assert fast <= set(names), fast - set(names)
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", slow_but(FAST, IDS))
def test_offsets_have_64_bits(name: str, precision: str) -> None:
    assert not differences(ops_of_case(name, precision), DEVICE)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", slow_but({"googlenet_shaped"}, list(NETWORKS)))
def test_fused_ops_have_offsets_of_64_bits(name: str, precision: str) -> None:
    ops = list(ops_of_network(name, precision))
    assert name != "googlenet_shaped" or {"pack_signs", "keep_positive"} <= {
        o.kernel for o, _ in ops
    }
    assert not differences(ops, DEVICE)


NARROW = {
    "pixel of a patch": (
        *("conv2d.cu", "conv2d-3x3"),
        *("offset<Offset>(k.high * height", "offset<int>(k.high * height"),
    ),
    "image of a patch": (
        *("conv2d.cu", "conv2d-3x3"),
        *("offset<int64>(is.high * height", "offset<int>(is.high * height"),
    ),
    "matrix by k": (
        *("gemm.cuh", "conv2d-many-channels"),
        *("        int64 at;", "        int at;"),
    ),
    "operand read": (
        *("elementwise.cuh", "activation-relu"),
        *("load(x.at, data + row * pitch +", "load(x.at, data + int(row * pitch) +"),
    ),
    "operand written": (
        *("elementwise.cuh", "conv2d-3x3"),
        *("store(data + row * pitch +", "store(data + int(row * pitch) +"),
    ),
    "pooled image": (
        *("pool2d.cu", "pool2d-max-3-by-1"),
        *("((int64(image) * g.height", "((image * g.height"),
    ),
    "normalized image": (
        *("batchnorm2d.cu", "batchnorm2d-batchnorm"),
        *("x[row * pitch + column]", "x[int(row * pitch) + column]"),
    ),
    "signs": (
        *("signs.cu", "googlenet_shaped"),
        *("int64(row) * pitch", "row * pitch"),
    ),
}
"""A file, the case or network that finds it, and an offset that becomes one of 32 bits."""


@pytest.mark.slow
@pytest.mark.parametrize("place", NARROW)
def test_an_offset_of_32_bits_is_found(place: str, tmp_path: Path) -> None:
    file, name, old, new = NARROW[place]
    shutil.copytree(kernels_folder(), tmp_path / "kernels")
    source = tmp_path / "kernels" / file
    before = source.read_text(encoding="utf-8")
    assert old in before
    source.write_text(before.replace(old, new), encoding="utf-8")
    ops = (ops_of_network if name in NETWORKS else ops_of_case)(name, "float32")
    assert differences(ops, SimulatedDevice(sources=source.parent))
