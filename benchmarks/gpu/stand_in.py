"""A machine without a GPU in the place of `machine`: kernels by g++, PyTorch's times from a table.

Its times say nothing; everything else of a measurement runs as it does on a GPU. KERNELS in the
environment: another folder of kernels than the project's.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import minidl as dl
import minidl.devices.cuda as cuda
from benchmarks.gpu.counting import CountingDevice
from benchmarks.gpu.engines import NAMES, Engine, TableEngine
from benchmarks.gpu.network import Case
from minidl.ops.cuda import product
from tests.simulator import fake_cupy
from tests.simulator.networks import NETWORKS

IS_GPU = False


def tiny_vgg() -> dl.Network:
    """For images of CIFAR-10."""
    x = dl.Input((32, 32, 3))
    y = dl.MaxPool2d(8)(dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(4, 3, padding=1)(x))))
    return dl.Network(x, dl.Linear(10)(dl.Flatten()(y)))


TRAINING = Case(tiny_vgg, 4, reference_batch=2)
CASES = tuple(
    Case(NETWORKS[name], 3, reference_batch=3, lr=0.02) for name in ("vgg_shaped", "resnet_shaped")
)
COMPARED, MOST_EPOCHS = 2, 2
STEPS = 4
TURN_SECONDS, ROUNDS = 0.0, 2
COPY_BYTES, LEAST_BYTES = 2**16, 0
OP_SECONDS = 0.0
LIMIT = 2**20
TILES, SPLITS = product.TILES, (1, 2)
KERNELS = "MINIDL_STAND_IN_KERNELS"

TIMES = {
    (case.model, precision): 1.0 + i
    for i, precision in enumerate(("bf16", "tf32", "float32"))
    for case in CASES
}


def device(graphs: bool = True) -> CountingDevice:
    sys.modules["cupy"] = fake_cupy
    cuda.cubins = fake_cupy.libraries
    folder = os.environ.get(KERNELS)
    if folder:
        fake_cupy.DEVICE = replace(fake_cupy.DEVICE, sources=Path(folder))
    return CountingDevice(graphs=graphs)


def engines() -> list[Engine]:
    half = {key: ms / 2 for key, ms in TIMES.items()}
    return [TableEngine(name, TIMES if name == "eager" else half) for name in NAMES.values()]


def load_engines() -> dict[str, Any]:
    return {"torch": "a table of times"}
