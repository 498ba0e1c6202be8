"""The CUDA device's own code, with CuPy replaced by the simulator; and its errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.verify_file import check_file
from minidl.devices.cuda import CudaDevice, DeviceError
from tests.simulator import fake_cupy
from tests.simulator.device import COMPILER, SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, batches, options
from tests.training import train

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setattr("minidl.devices.cuda.cubins", fake_cupy.libraries)
    fake_cupy.Memory.taken.clear()
    fake_cupy.GRAPHS.clear()


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_same_bits_as_the_simulated_device(precision: str, graphs: bool) -> None:
    network = NETWORKS["vgg_shaped"]()
    data = batches(network, 3)
    how = options("vgg_shaped", precision=precision)
    expected = train(network, data, "arena", device=SimulatedDevice(), **how)
    assert train(network, data, "arena", device=CudaDevice(graphs=graphs), **how) == expected


@pytest.mark.usefixtures("cupy")
def test_a_step_is_one_graph_and_allocates_nothing() -> None:
    network = NETWORKS["alexnet_shaped"]()
    step = dl.compile(network, BATCH, device="cuda", **options("alexnet_shaped"))
    assert fake_cupy.Memory.taken == [step.arena.device.available() and step.plan.arena_bytes]
    data = batches(network, 4)
    step(*data[0])
    step.learning_rate = 0.01
    for batch in data[1:]:
        step(*batch)
    assert fake_cupy.GRAPHS == [3], "the first step is eager, the others one graph"
    assert len(fake_cupy.Memory.taken) == 1


@pytest.mark.usefixtures("cupy")
def test_feeding_gives_the_losses_of_single_steps() -> None:
    network = NETWORKS["resnet_shaped"]()
    data = batches(network, 4)
    for device in ("cpu", "cuda"):
        one, other = (
            dl.compile(network, BATCH, device=device, **options("resnet_shaped")) for _ in range(2)
        )
        assert list(one.feed(data)) == [other(*batch) for batch in data]
        assert list(one.feed([])) == []


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(("precision", "accumulate"), [("float32", 1), ("bf16", 1), ("bf16", 2)])
def test_the_next_batch_arrives_in_bytes_of_its_own(precision: str, accumulate: int) -> None:
    network = NETWORKS["vgg_shaped"]()
    data = batches(network, 4)
    how = options("vgg_shaped", precision=precision, accumulate=accumulate)
    plain = dl.compile(network, BATCH, device="cuda", **how)
    step = dl.compile(network, BATCH, device="cuda", prefetch=True, **how)
    pictures, labels = step.plan.graph.waiting
    more = sum(-(-t.nbytes // 256) * 256 for t in (pictures, labels))
    assert step.plan.arena_bytes == plain.plan.arena_bytes + more
    losses = list(step.feed(data[:3]))
    assert losses == [plain(*batch) for batch in data[:3]]
    np.testing.assert_array_equal(step.predict(data[0][0]), plain.predict(data[0][0]))
    assert step(*data[3]) == plain(*data[3])
    check_file(step.plan.to_dict())
    with pytest.raises(dl.ArgumentError, match="leave it out on cpu"):
        dl.compile(network, BATCH, prefetch=True)


@pytest.mark.usefixtures("cupy")
def test_what_is_written_ahead_waits_for_what_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of copies on two streams: ahead, move, step, ahead (waits for move), ..."""
    events: list[str] = []
    device = CudaDevice()
    kinds = {1: "host to device", 3: "device to device"}
    names = {device.stream.ptr: "compute", device.copies.ptr: "copies"}

    def copy(to: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        events.append(f"{names[stream]}: {kinds[kind]}")

    def wait(stream: fake_cupy.Stream, event: fake_cupy.Stream) -> None:
        events.append(f"{names[stream.ptr]} waits for {names[event.ptr]}")

    monkeypatch.setattr(fake_cupy.cuda.runtime, "memcpyAsync", copy)
    monkeypatch.setattr(fake_cupy.Stream, "wait_event", wait)
    memory = device.allocate(512, 256)
    for _ in range(2):
        device.write_ahead(memory, 256, np.ones(4, np.uint8))
        device.move(memory, 0, 256, 4)
    step = [
        "copies: host to device",
        "compute waits for copies",
        "compute: device to device",
    ]
    assert events == [*step, "copies waits for compute", *step]


@pytest.mark.usefixtures("cupy")
def test_state_goes_in_and_comes_out() -> None:
    network = NETWORKS["vgg_shaped"]()
    here = dl.compile(network, BATCH, **options("vgg_shaped"))
    there = dl.compile(network, BATCH, device="cuda", **{**options("vgg_shaped"), "seed": 9})
    there.load_state_dict(here.state_dict())
    for name, array in here.state_dict().items():
        np.testing.assert_array_equal(there.state_dict()[name], array)
    pictures = batches(network, 1)[0][0]
    np.testing.assert_allclose(
        there.predict(pictures[:2]), here.predict(pictures[:2]), rtol=0, atol=1e-5
    )


@pytest.mark.usefixtures("cupy")
def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["vgg_shaped"]()
    monkeypatch.setattr(fake_cupy.cuda.runtime, "memGetInfo", lambda: (200_000, LARGE))
    with pytest.raises(dl.ArenaTooLargeError, match=r"the device has .* free: batch \d+ fits"):
        dl.compile(network, 64, device="cuda")
    monkeypatch.setattr(fake_cupy.cuda.runtime, "memGetInfo", lambda: (LARGE, LARGE))
    monkeypatch.setattr(fake_cupy, "LARGEST", 100)
    with pytest.raises(dl.ArenaTooLargeError, match=r"refused .* in one piece"):
        dl.compile(network, 4, device="cuda")


LARGE = 2**40


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"pip install 'minidl\[cuda13\]'"):
        dl.compile(NETWORKS["vgg_shaped"](), BATCH, device="cuda")


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("driverGetVersion", lambda: 0, "no NVIDIA driver"),
        ("getDeviceCount", "cudaErrorInsufficientDriver: too old", "driver is too old.*13.0"),
        ("getDeviceCount", "cudaErrorNoDevice: none", "no NVIDIA GPU to be used"),
        ("getDeviceCount", lambda: 0, "there is no GPU 0: this machine has 0"),
    ],
)
def test_machines_that_cannot(
    name: str, value: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> int:
        raise fake_cupy.CUDARuntimeError(value)

    changed = fails if isinstance(value, str) else value
    monkeypatch.setattr(fake_cupy.cuda.runtime, name, changed)
    with pytest.raises(DeviceError, match=message):
        CudaDevice()


@pytest.mark.usefixtures("cupy")
def test_an_old_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_cupy.Device, "compute_capability", "75")
    name = {"name": b"Tesla T4"}
    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceProperties", lambda index: name)
    with pytest.raises(DeviceError, match=r"^Tesla T4 has .* 7\.5: the kernels need 8\.0"):
        CudaDevice()


def test_precisions_and_devices_that_do_not_fit() -> None:
    network = NETWORKS["vgg_shaped"]()
    with pytest.raises(dl.ArgumentError, match="'bf16' is a mode of CUDA's tensor cores"):
        dl.compile(network, BATCH, precision="bf16")
    with pytest.raises(dl.ArgumentError, match="'float64' is for the CPU device"):
        dl.compile(network, BATCH, precision="float64", device=SimulatedDevice())
