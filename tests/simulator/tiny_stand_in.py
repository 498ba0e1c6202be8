"""The stand-in with faults, and a tiny network for each kind of fault, named for it.

Their convolutions differ in whether their channels and features come in whole vectors: each is a
kernel that no other network has, so that a fault in it strikes one network alone.
"""

from __future__ import annotations

from typing import Any

import minidl as dl
from benchmarks.gpu.network import Case
from minidl.layers.network import as_network
from minidl.ops.cuda import product
from tests.simulator import faulty_stand_in
from tests.simulator.networks import CLASSES


def __getattr__(name: str) -> Any:
    return getattr(faulty_stand_in, name)


def _network(channels: int, features: int) -> dl.Network:
    layers = dl.Sequential(dl.Conv2d(features, 1), dl.Flatten(), dl.Linear(CLASSES))
    return as_network(layers, (2, 2, channels))


def wrong() -> dl.Network:
    return _network(4, 4)


def raises() -> dl.Network:
    return _network(4, 6)


def hangs() -> dl.Network:
    return _network(6, 4)


def dies() -> dl.Network:
    return _network(6, 6)


def sticks() -> dl.Network:
    return _network(3, 6)


def right() -> dl.Network:
    return _network(3, 4)


CASES = tuple(
    Case(build, 2, reference_batch=2, lr=0.02)
    for build in (wrong, raises, hangs, dies, sticks, right)
)
"""A case behind all faults shows that it goes on."""
TILES, SPLITS = tuple(t for t in product.TILES if t.m <= 64 and t.n == 32), (1,)
