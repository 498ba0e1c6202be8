"""One op as a plan of its own in device memory, on inputs that take no time to make.

An input is a block of random numbers, repeated on the device. The block's length is a prime, so
that no two rows of a matrix are the same; both sides of a comparison repeat the same block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.gpu.network import Case, optimizer
from benchmarks.gpu.timing import Graphed, milliseconds
from minidl.compiler.lower import lower_training
from minidl.devices.kernels import bind
from minidl.devices.known import target_of
from minidl.ir import Array, Op, Tensor
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16
from minidl.ir.card import Card
from minidl.ir.tensor import host_dtype
from minidl.ops.cuda.product import Product, Tuning
from minidl.options import Options

PERIOD = 1_048_573
"""Elements of a block: a prime below 2^20."""
GRAPH_MS, MOST_LAUNCHES = 1.0, 32
"""Of a graph that an op is timed in: about so long, of at most so many launches."""
SAMPLE = 65_536
"""Elements at the beginning, in the middle and at the end that are compared between tiles."""
POISON = 0xFF
"""A float32 or a bfloat16 of these bytes is NaN."""


def block(t: Tensor) -> Array:
    """The numbers that a tensor repeats: the same in every process. Whole numbers are zero, since
    they may be places in memory."""
    size = min(t.size, PERIOD)
    if t.integer:
        return np.zeros(size, t.dtype)
    return np.random.default_rng(t.size).standard_normal(size, np.float32)


def whole(t: Tensor) -> Array:
    """All values of a tensor, on the host."""
    return np.resize(block(t), t.shape)


class Alone:
    """An op and memory for what it reads and writes; its time is that in a graph of launches."""

    def __init__(self, device: Any, op: Op) -> None:
        self.ops, self.device, self.op = (op,), device, op
        self.places: dict[Tensor, int] = {}
        end = 0
        for t in dict.fromkeys(t.storage for t in (*op.writes, *op.reads)):
            self.places[t] = end
            end += -(-t.nbytes // 256) * 256
        self.memory = device.allocate(end, 256)
        device.fill(self.memory, 0, end, POISON)
        self.blocks = {t: _raw(block(t), t) for t in op.reads}
        (self.call,) = bind(self, self.memory.ptr, device)  # type: ignore[arg-type]
        self.graphed: Graphed | None = None

    @property
    def graph(self) -> Alone:
        return self

    def offset(self, t: Tensor) -> int:
        return self.places[t.storage] + t.start

    def fill(self) -> None:
        """Write what the op reads: it may have written over that."""
        device, kind = self.device, self.device.runtime.memcpyDeviceToDevice
        for t, raw in self.blocks.items():
            start, done = self.memory.ptr + self.offset(t), raw.nbytes
            device.write(self.memory, self.offset(t), raw)
            while done < t.nbytes:  # what is there is doubled
                more = min(done, t.nbytes - done)
                with device.running():
                    device.runtime.memcpyAsync(start + done, start, more, kind, device.stream.ptr)
                done += more

    def run(self) -> None:
        """Once, on inputs that are filled anew."""
        self.fill()
        with self.device.running():
            self.call()

    def milliseconds(self, repeats: int) -> float:
        """Of one run of the op, from about `repeats` of them."""
        if self.graphed is None:
            self.run()
            once = milliseconds(self.device, self._once, 1)
            launches = max(1, min(MOST_LAUNCHES, round(GRAPH_MS / once)))
            self.fill()
            self.graphed = Graphed(self.device, self.call, launches)
        self.fill()
        return self.graphed.milliseconds(max(1, repeats // self.graphed.launches))

    def _once(self) -> None:
        with self.device.running():
            self.call()

    def result(self) -> Array:
        """The bytes of its first write."""
        t = self.op.writes[0]
        raw: Array = self.device.read(self.memory, self.offset(t), t.nbytes)
        return raw

    def sample(self) -> Array:
        """Some elements of its first write, float32."""
        t = self.op.writes[0]
        size = min(t.size, SAMPLE)
        starts = dict.fromkeys((0, (t.size - size) // 2, t.size - size))
        return np.concatenate([self._part(t, start, size) for start in starts])

    def _part(self, t: Tensor, start: int, size: int) -> Array:
        offset, nbytes = self.offset(t) + start * t.itemsize, size * t.itemsize
        return values(t, self.device.read(self.memory, offset, nbytes))


def _raw(array: Array, t: Tensor) -> Array:
    return to_bfloat16(array) if t.dtype == "bfloat16" else array


def values(t: Tensor, raw: Array) -> Array:
    """Bytes of a tensor as numbers, flat."""
    found = raw.view(host_dtype(t.dtype))
    return from_bfloat16(found) if t.dtype == "bfloat16" else found


def title(op: Op) -> str:
    """Its name and the shape of what it writes: a layer has several updates of one name."""
    return f"{op.name} {'x'.join(map(str, op.writes[0].shape))}"


def distinct_ops(
    case: Case, precision: str, card: Card, least: int, tuning: Tuning | None = None
) -> list[Op]:
    """The ops of a case's training step on a card, as they are before any is fused: one of each
    kernel and shapes, of those that move `least` bytes or more."""
    options = Options(precision=precision, device="cuda", card=card, tuning=tuning)
    how = dl.CrossEntropy(), optimizer(case.lr), case.batch, options, target_of(options)
    graph = lower_training(case.build(), *how)
    found: dict[Any, Op] = {}
    for op in graph.ops:
        shapes = tuple((t.shape, t.dtype) for t in (*op.writes, *op.reads))
        if op.bytes_moved >= least:
            found.setdefault((op.kernel, shapes, str(op.attributes)), op)
    return list(found.values())


def products(ops: list[Op]) -> Iterator[tuple[Op, Product]]:
    """The ops that are matrix products, each with its tile."""
    for op in ops:
        if "products" in op.attributes and op.function.__name__ in PRODUCTS:
            yield op, getattr(op.attributes["products"], op.phase)


PRODUCTS = tuple(
    f"{layer}_{phase}" for layer in ("conv2d", "linear") for phase in ("forward", "dgrad", "wgrad")
)
"""NumPy functions of the ops that are matrix products."""
