"""The machine that measurements run on: its GPU, its PyTorch, and networks of real size.

`stand_in` has the same names for a machine without a GPU; `--stand-in` takes it.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.counting import CountingDevice
from benchmarks.gpu.engines import NAMES, Engine, TorchEngine
from benchmarks.gpu.network import Case
from benchmarks.gpu.torch_ops import torch_or_none
from minidl import models
from minidl.ops.cuda import product

IS_GPU = True
CASES = (
    Case(models.alexnet, 128, reference_batch=8),
    Case(models.vgg16, 64, reference_batch=2),
    Case(models.resnet50, 64, reference_batch=4, smooth=False),
)
"""Networks whose steps are timed."""
TRAINING = Case(models.vgg16_bn_small, 256, reference_batch=2)
"""What is trained on CIFAR-10."""
COMPARED, MOST_EPOCHS = 50, 60
"""Steps whose losses are compared between memory modes; epochs at most."""
STEPS = 30
"""Steps in which a loss has to fall."""
TURN_SECONDS, ROUNDS = 0.2, 5
"""Of one engine's turn; turns of each."""
OP_SECONDS = 0.03
"""Of one turn of one op."""
COPY_BYTES = 2**30
LEAST_BYTES = 2**20
"""That an op moves which is measured alone."""
LIMIT = 12 * 2**30
"""A smaller card's memory, for which the largest batch is looked for."""
TILES = product.TILES
"""That a product is tried with."""
SPLITS = (1, 2, 4, 8, 16, 32, 64)
"""Of a sum, that are tried with each tile."""


def device(graphs: bool = True) -> CountingDevice:
    return CountingDevice(graphs=graphs)


def engines() -> list[Engine]:
    """PyTorch's, where it is installed and sees the GPU."""
    torch = torch_or_none()
    if torch is None or not torch.cuda.is_available():
        return []
    return [TorchEngine(torch, mode) for mode in NAMES]


def load_engines() -> dict[str, Any]:
    """Read PyTorch's files from a cold disk; its versions."""
    torch = torch_or_none()
    if torch is None:
        return {"torch": "absent"}
    try:
        import torchvision
    except ImportError:
        return {"torch": torch.__version__, "torchvision": "absent"}
    return {"torch": torch.__version__, "torchvision": torchvision.__version__}
