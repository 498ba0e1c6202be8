"""Machines on which the CUDA device cannot work: one error each, with the way out. docs/faq.md has
the common ones, which tests/docs/provoked/devices.py provokes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.devices.cuda import CudaDevice, DeviceError
from tests.simulator import fake_cupy
from tests.simulator.build import COMPILER
from tests.simulator.fake.errors import CUDARuntimeError
from tests.simulator.fake.machine import CONTEXT, Machine
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, OPTIMIZERS, batches, options
from tests.training import train

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake_cupy.install(monkeypatch)


# -- CuPy ------------------------------------------------------------------------------------------


class Failing:
    """An importer for which `import cupy` raises this."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "cupy":
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'cupy'", name="cupy"),
            r"needs CuPy \(No module named 'cupy'\): pip install 'minidl\[cuda13\]', or 'minidl\[",
        ),
        (
            ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"),
            r"is installed and cannot be imported \(ModuleNotFoundError: No module named 'fastr",
        ),
        (
            ImportError("\n====\nFailed.\n\n  ImportError: libcudart.so.12: cannot open\n====\n"),
            r"cannot be imported \(ImportError: libcudart\.so\.12: cannot open\): remove",
        ),
        (
            OSError("libcuda.so.1: cannot open"),
            r"imported \(OSError: libcuda\.so\.1: cannot open\)",
        ),
        (ValueError("numpy.dtype size changed"), r"\(ValueError: numpy\.dtype size changed\)"),
        (RuntimeError("CuPy failed to load libnvrtc.so"), r"\(RuntimeError: CuPy failed to load"),
        (AttributeError(""), r"\(AttributeError: \): remove"),
    ],
)
def test_cupy_does_not_import(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(error), *sys.meta_path])
    with pytest.raises(DeviceError, match=message) as caught:
        dl.compile(NETWORKS["vgg_shaped"](), BATCH, device="cuda")
    assert "\n" not in str(caught.value)


# -- driver and cards ------------------------------------------------------------------------------


def test_other_failures_of_a_driver(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def mismatch() -> int:
        raise CUDARuntimeError(803)

    for function in ("driverGetVersion", "getDeviceCount"):
        with monkeypatch.context() as patched:
            patched.setattr(fake_cupy.cuda.runtime, function, mismatch)
            with pytest.raises(DeviceError, match=r"cudaErrorSystemDriverMismatch: .*'cpu' runs"):
                CudaDevice()


@pytest.mark.parametrize("index", [-1, 1, 7])
def test_numbers_of_no_gpu(index: int, machine: Machine) -> None:
    with pytest.raises(DeviceError, match=f"no GPU {index}: this machine has 1, number 0$"):
        CudaDevice(index)


@pytest.mark.parametrize("index", ["0", None, 0.0, True])
def test_what_is_no_number(index: Any, machine: Machine) -> None:
    with pytest.raises(dl.ArgumentError, match="index is the number of a GPU"):
        CudaDevice(index)


@pytest.mark.parametrize("visible", ["", "-1", "9", "GPU-0000"])
def test_every_gpu_is_hidden(
    visible: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(DeviceError, match=f"CUDA_VISIBLE_DEVICES={visible} hides every one: unset"):
        CudaDevice()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (46, "GPU 0 is held by another process, or is set to be used by none: nvidia-smi shows"),
        (2, "GPU 0 has no memory free for a context, another process may hold it: nvidia-smi"),
        (719, r"GPU 0 cannot be used \(cudaErrorLaunchFailure: unspecified launch failure\)"),
    ],
)
def test_a_gpu_that_cannot_be_begun_with(
    status: int, message: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise CUDARuntimeError(status)

    monkeypatch.setattr(fake_cupy.cuda, "Stream", fails)
    with pytest.raises(DeviceError, match=message):
        CudaDevice()


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", ["arena", "kernels"])
def test_what_is_free_counts(short: str, machine: Machine) -> None:
    """Of a card that another process shares: the bytes that are left, in the message."""
    network, (card,) = NETWORKS["vgg_shaped"](), machine.cards
    device = CudaDevice()
    how = {"optimizer": OPTIMIZERS["vgg_shaped"], "device": device}
    needed = dl.plan(network, BATCH, **{**how, "device": "cuda"}).arena_bytes
    card.others = card.total - CONTEXT - needed + (512 if short == "arena" else -(2**14))
    words = "free, another process may hold the rest"
    with pytest.raises(dl.ArenaTooLargeError, match=words) as caught:
        dl.compile(network, BATCH, **how)
    assert ("kernels beside the arena" in str(caught.value)) == (short == "kernels")
    del caught
    gc.collect()
    assert not card.allocations, "what was taken is given back"
    card.others = 0
    dl.compile(network, BATCH, **how)


# -- several cards, and capture --------------------------------------------------------------------


def test_a_step_on_the_second_card(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["alexnet_shaped"]()
    data, how = batches(network, 3), options("alexnet_shaped")
    expected = train(network, data, "arena", device=CudaDevice(), **how)
    first, second = fake_cupy.install(monkeypatch, 90, 90).cards
    device = CudaDevice(index=1)
    assert train(network, data, "arena", device=device, **how) == expected
    assert second.context
    assert not first.context, "the first card was not touched"


def test_what_fails_in_a_capture_is_said(machine: Machine) -> None:
    """Not that the capture is broken off, which follows from it."""
    device = CudaDevice()

    def synchronizes() -> None:
        device.stream.synchronize()

    run = device.whole([synchronizes])
    with device.running():
        run()
        with pytest.raises(CUDARuntimeError, match="not permitted when stream is capturing"):
            run()
    memory = device.allocate(512, 256)
    device.write(memory, 0, np.arange(8, dtype=np.uint8))
    assert device.read(memory, 0, 8).tolist() == list(range(8)), "the stream goes on"


Fault = Callable[[CudaDevice], object]


@pytest.mark.parametrize(
    "call",
    [
        lambda device: device.allocate(512, 256),
        lambda device: device.read(device.kept, 0, 16),
        lambda device: device.write(device.kept, 0, np.zeros(16, np.uint8)),
        lambda device: device.synchronize(),
        lambda device: (
            device.prepare([]) or (device.available() and device.later(device.kept, 0, 4))
        ),
    ],
)
def test_a_step_may_not_do_in_a_graph(call: Fault, machine: Machine) -> None:
    """What allocates, waits or copies with the host is refused where a step is captured."""
    device = CudaDevice()
    device.kept = device.allocate(512, 256)  # type: ignore[attr-defined]

    def does() -> None:
        call(device)

    run = device.whole([does])
    with device.running():
        run()
        with pytest.raises(CUDARuntimeError, match="not permitted when stream is capturing"):
            run()
