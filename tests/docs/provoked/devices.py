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
from tests.docs.provoked.cases import compiled, images, jpeg, labels, network, put, raises
from tests.simulator import fake_cupy


@raises("### CuPy is missing")
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "cupy", None)
    return compiled(device="cuda")


class Broken:
    """Finds a CuPy that fails while it is imported, with CuPy's own frame around the cause."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "cupy":
            cause = "libcudart.so.12: cannot open shared object file: No such file or directory"
            frame = "=" * 64
            words = f"Failed to import CuPy.\n\nOriginal error:\n  ImportError: {cause}"
            raise ImportError(f"\n{frame}\n{words}\n{frame}\n")


@raises("### CuPy is broken")
def broken_cupy(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    return compiled(device="cuda")


@raises("### No driver, or too old a driver")
def no_driver(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch, driver=0)
    return CudaDevice()


@raises("### No driver, or too old a driver")
def old_driver(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch, driver=12080)
    return CudaDevice()


@raises("### No GPU, or none of that number")
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch, cards=[])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return CudaDevice()


@raises("### No GPU, or none of that number")
def hidden_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return CudaDevice()


@raises("### No GPU, or none of that number")
def no_such_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch, 90, 90)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return CudaDevice(index=2)


@raises("### No GPU, or none of that number")
def hidden_number(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch, 90, 90)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    return CudaDevice(index=1)


@raises("### The GPU is too old")
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    fake_cupy.install(monkeypatch, 75)
    return CudaDevice()


@raises("### Another process holds the GPU")
def full_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    (card,) = fake_cupy.install(monkeypatch).cards
    card.others = card.total - 2**20
    return CudaDevice()


@raises("### Another process holds the GPU")
def shared_gpu(monkeypatch: pytest.MonkeyPatch) -> object:
    (card,) = fake_cupy.install(monkeypatch).cards
    device = CudaDevice()
    card.others = card.free - 2**15
    return dl.compile(network(), batch=64, device=device)


@raises("### Another process holds the GPU")
def no_room_for_kernels(monkeypatch: pytest.MonkeyPatch) -> object:
    (card,) = fake_cupy.install(monkeypatch).cards
    device = CudaDevice()
    card.others = card.free - dl.plan(network(), batch=4, device="cuda").arena_bytes - 2**14
    return compiled(device=device)


@raises("### Another process holds the GPU")
def taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> object:
    (card,) = fake_cupy.install(monkeypatch).cards
    device = CudaDevice()
    monkeypatch.setattr(device, "available", lambda: 2**30)
    card.others = card.free - 2**15
    return dl.compile(network(), batch=64, device=device)


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


@raises("### The card is not known")
def unknown_card(_: pytest.MonkeyPatch) -> object:
    return dl.plan(network(), batch=4, gpu="rtx3061")


@raises("### The card is not known")
def too_old_card(_: pytest.MonkeyPatch) -> object:
    return dl.plan(network(), batch=4, gpu="t4")


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
    return trainer.fit(InOrder(images(), labels(), 4))


@raises("### An extra is not installed")
def no_matplotlib_for_a_plan(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    return dl.plan(network(), batch=4).to_png("plan.png")


@raises("### An extra is not installed")
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    trainer = Trainer(compiled(), output_dir="run", callbacks=[TensorBoard()], quiet=True)
    return trainer.fit(InOrder(images(), labels(), 4))
