"""Arrays of other libraries go in, weights come out in place: no copy that is not needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.interop import CudaArray, exported
from minidl.ir import Array
from tests.simulator import fake_cupy
from tests.simulator.build import COMPILER
from tests.training import state_bits

BATCH, IMAGE = 4, (6, 6, 2)
X = np.random.default_rng(0).normal(size=(BATCH, *IMAGE)).astype(np.float32)
Y = np.array([0, 2, 1, 1])


def network(dtype: str | None = None) -> dl.Network:
    x = dl.Input(IMAGE, dtype=dtype)
    y = dl.Normalize(0.1, 2.0)(x) if dtype else x
    y = dl.Flatten()(dl.ReLU()(dl.Conv2d(4, 3)(y, name="conv")))
    return dl.Network(x, dl.Linear(3)(y, name="fc"))


class ByDlpack:
    """An array that other libraries see through DLPack alone."""

    def __init__(self, array: Array, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **how: Any) -> Any:
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class ByArray:
    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.array


class ByCuda:
    """An array "on the GPU", by the interface of Numba."""

    def __init__(self, array: Array, **how: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {**array.__array_interface__, "version": 2, **how}


# -- the CPU device --------------------------------------------------------------------------------


def test_a_weight_comes_out_in_place() -> None:
    step = dl.compile(network(), BATCH)
    weight = exported(step, "fc.weight")
    seen = np.from_dlpack(weight)  # type: ignore[arg-type]
    assert np.shares_memory(seen, step.arena.bytes)
    lent = seen if seen.flags.writeable else weight  # NumPy up to 2.2.0 takes it read-only
    lent[...] = 0
    np.testing.assert_array_equal(seen, 0)
    np.testing.assert_array_equal(step.state_dict()["fc.weight"], 0)


@pytest.mark.parametrize("wrap", [ByDlpack, ByArray, np.ndarray.tolist])
def test_arrays_of_other_libraries_train_alike(wrap: Callable[[Array], Any]) -> None:
    asked, other = dl.compile(network(), BATCH), dl.compile(network(), BATCH)
    assert asked(wrap(X), wrap(Y)) == other(X, Y)
    assert state_bits(asked) == state_bits(other)
    np.testing.assert_array_equal(asked.predict(wrap(X)), other.predict(X))


@pytest.mark.parametrize("array", [ByDlpack(X, (2, 0)), ByCuda(X)])
def test_an_array_on_a_gpu_is_refused_on_the_cpu(array: Any) -> None:
    step = dl.compile(network(), BATCH)
    before = state_bits(step)
    with pytest.raises(dl.ArgumentError, match=r"lies on a GPU.*x\.cpu\(\)"):
        step(array, Y)
    with pytest.raises(dl.ArgumentError, match="lies on a GPU"):
        step.predict(array)
    assert state_bits(step) == before


def test_an_array_that_its_library_does_not_hand_over() -> None:
    class Kept(ByArray):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            raise RuntimeError("it needs its gradient")

    with pytest.raises(dl.ArgumentError, match="a Kept is no array of numbers: it needs its"):
        dl.compile(network(), BATCH)(Kept(X), Y)


# -- the CUDA device -------------------------------------------------------------------------------


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    fake_cupy.install(monkeypatch)


def on_gpu(array: Array) -> fake_cupy.ndarray:
    memory = fake_cupy.Memory(array.nbytes)
    there = fake_cupy.ndarray(array.shape, array.dtype.str, fake_cupy.MemoryPointer(memory, 0))
    there.seen[...] = array
    return there


def by_cuda(array: Array, **how: Any) -> ByCuda:
    """An array in the GPU's memory, by the interface of Numba."""
    there = on_gpu(array)
    seen = ByCuda(there.seen, **how)
    seen.owner = there  # type: ignore[attr-defined]
    return seen


@pytest.mark.usefixtures("cuda")
def test_a_weight_lies_in_the_arena_on_a_gpu() -> None:
    step = dl.compile(network(), BATCH, device="cuda")
    weight = exported(step, "conv.weight")
    assert isinstance(weight, CudaArray)
    stream = step.arena.device.stream  # type: ignore[attr-defined]
    described = weight.__cuda_array_interface__
    tensor = next(v.tensor for v in step.plan.graph.variables if v.name == "conv.weight")
    assert described["data"] == (step.arena.bytes.ptr + step.plan.offset(tensor), False)
    assert (described["shape"], described["typestr"]) == ((4, 3, 3, 2), "<f4")
    assert (described["version"], described["stream"]) == (3, stream.ptr)
    assert weight.__dlpack_device__() == (2, 0)
    assert weight.__dlpack__(stream=7) is not None
    assert [(7, stream.ptr)] == fake_cupy.WAITED, "stream 7 waits for the step's"
    with pytest.raises(dl.ArgumentError, match=r"'conv\.wait'.*conv\.weight"):
        exported(step, "conv.wait")


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("wrap", [on_gpu, by_cuda])
def test_images_on_the_gpu_train_alike(wrap: Callable[[Array], Any]) -> None:
    asked, other = (dl.compile(network(), BATCH, device="cuda") for _ in range(2))
    assert asked(wrap(X), wrap(Y)) == other(X, Y)
    assert state_bits(asked) == state_bits(other)
    np.testing.assert_array_equal(asked.predict(wrap(X[:3])), other.predict(X[:3]))
    many = np.concatenate([X, X[:2] + 1])
    np.testing.assert_array_equal(asked.predict(wrap(many)), other.predict(many))


@pytest.mark.usefixtures("cuda")
def test_bytes_on_the_gpu() -> None:
    images = np.arange(X.size, dtype=np.uint8).reshape(X.shape)
    asked, other = (dl.compile(network("uint8"), BATCH, device="cuda") for _ in range(2))
    assert asked(on_gpu(images), Y) == other(images, Y)


@pytest.mark.usefixtures("cuda")
def test_who_wrote_an_array_is_waited_for() -> None:
    step = dl.compile(network(), BATCH, device="cuda")
    own = step.arena.device.stream.ptr  # type: ignore[attr-defined]
    for array, waited in (
        (by_cuda(X), ["device"]),
        (by_cuda(X, version=3, stream=9), [9]),
        (by_cuda(X, version=3, stream=None), []),
        (by_cuda(X, version=3, stream=own), []),
        (on_gpu(X), [(own, own)]),
    ):
        fake_cupy.WAITED.clear()
        step(array, Y)
        assert waited == fake_cupy.WAITED


BAD_ARRAYS: dict[str, tuple[Any, str]] = {
    "float64": (ByCuda(X.astype(float)), "input: on the GPU the step reads float32.*float64"),
    "columns": (ByCuda(np.asfortranarray(X)), "not side by side"),
    "masked": (ByCuda(X, mask=ByCuda(X)), "masked"),
    "shape": (ByCuda(X[:3]), r"input.*\(4, 6, 6, 2\).*\(3, 6, 6, 2\)"),
    "another GPU": (ByDlpack(X, (2, 1)), "lies on GPU 1, the step runs on GPU 0"),
}


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_refused_array_changes_nothing(name: str) -> None:
    array, message = BAD_ARRAYS[name]
    step = dl.compile(network(), BATCH, device="cuda")
    before = state_bits(step)
    with pytest.raises(ValueError, match=message):
        step(array, Y)
    assert state_bits(step) == before


@pytest.mark.usefixtures("cuda")
def test_labels_and_finite_images_are_checked_on_the_gpu_too() -> None:
    step = dl.compile(network(), BATCH, device="cuda", check_finite=True)
    with pytest.raises(dl.ArgumentError, match="9"):
        step(on_gpu(X), on_gpu(np.array([0, 9, 1, 1])))
    with pytest.raises(dl.NotFiniteError, match="input holds nan"):
        step(on_gpu(np.full_like(X, np.nan)), on_gpu(Y))
