"""Devices, precisions, and what is not installed."""

from __future__ import annotations

import sys

import pytest

import minidl as dl
from minidl.data import decode
from minidl.data.decode import pillow
from minidl.devices.architecture import architecture_for
from minidl.devices.cuda import CudaDevice
from minidl.devices.nvrtc import nvrtc_library
from minidl.interop import import_onnx
from minidl.train import InOrder, Png, TensorBoard, Trainer
from tests.docs.provoked.cases import compiled, jpeg, labels, network, pictures, put, raises
from tests.simulator import fake_cupy


def device_with(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> object:
    """A GPU's device where CUDA's runtime answers so, or fails with these words."""

    def fails() -> int:
        raise fake_cupy.CUDARuntimeError(value)

    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    answer = fails if isinstance(value, str) else lambda: value
    monkeypatch.setattr(fake_cupy.cuda.runtime, name, answer)
    return CudaDevice()


@raises("### CuPy is missing")
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "cupy", None)
    return compiled(device="cuda")


@raises("### No driver, or too old a driver")
def no_driver(monkeypatch: pytest.MonkeyPatch) -> object:
    return device_with(monkeypatch, "driverGetVersion", 0)


@raises("### No driver, or too old a driver")
def old_driver(monkeypatch: pytest.MonkeyPatch) -> object:
    return device_with(monkeypatch, "getDeviceCount", "cudaErrorInsufficientDriver: too old")


@raises("### No GPU, or none of that number")
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    words = "cudaErrorNoDevice: no CUDA-capable device is detected"
    return device_with(monkeypatch, "getDeviceCount", words)


@raises("### No GPU, or none of that number")
def no_such_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    return device_with(monkeypatch, "getDeviceCount", 0)


@raises("### The GPU is too old")
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(fake_cupy.Device, "compute_capability", "75")
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    return CudaDevice()


@raises("### NVRTC is missing")
def no_nvrtc(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    return nvrtc_library()


@raises("### NVRTC and the GPU do not fit")
def no_architecture(monkeypatch: pytest.MonkeyPatch) -> object:
    return architecture_for(80, (100, 120))


@raises("### The device or the precision is not known")
def unknown_device(_: pytest.MonkeyPatch) -> object:
    return compiled(device="gpu")


@raises("### The device or the precision is not known")
def unknown_precision(_: pytest.MonkeyPatch) -> object:
    return compiled(precision="float16")


@raises("### The device or the precision is not known")
def precision_of_cuda(_: pytest.MonkeyPatch) -> object:
    return compiled(precision="bf16")


@raises("### The device or the precision is not known")
def prefetch_on_cpu(_: pytest.MonkeyPatch) -> object:
    return dl.plan(network(), batch=4, prefetch=True)


class OnGpu:
    """What `torch.Tensor` is on a GPU, as far as it is asked."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


@raises("### The array lies on a GPU")
def on_gpu(_: pytest.MonkeyPatch) -> object:
    return compiled()(OnGpu(), labels())


@raises("### An extra is not installed")
def no_pillow(monkeypatch: pytest.MonkeyPatch) -> object:
    raw = jpeg()
    pillow.cache_clear()
    monkeypatch.setitem(sys.modules, "PIL", None)
    return decode(raw, "cat.jpg")


@raises("### An extra is not installed")
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> object:
    put("model.onnx", b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    return import_onnx("model.onnx")


@raises("### An extra is not installed")
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    trainer = Trainer(compiled(), output_dir="run", callbacks=[Png()], quiet=True)
    return trainer.fit(InOrder(pictures(), labels(), 4))


@raises("### An extra is not installed")
def no_matplotlib_for_a_plan(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    return dl.plan(network(), batch=4).to_png("plan.png")


@raises("### An extra is not installed")
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    trainer = Trainer(compiled(), output_dir="run", callbacks=[TensorBoard()], quiet=True)
    return trainer.fit(InOrder(pictures(), labels(), 4))
