"""The CUDA device's own code, with CuPy replaced by the simulator; and its errors."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import minidl as dl
from minidl.cards import BY_NAME, DEFAULT
from minidl.devices.cuda import CudaDevice
from minidl.devices.kernels import unit_of
from minidl.ops.cuda import launches_of
from minidl.placed.file import placed_to_dict
from minidl.placed.verify.file import check_file
from tests.simulator import fake_cupy
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.fake.machine import SEED
from tests.simulator.networks import CLASSES, NETWORKS
from tests.simulator.test_steps import BATCH, ERRORS, batches, options
from tests.training import train

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy.install(monkeypatch)


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_same_bits_as_the_simulated_device(precision: str, graphs: bool) -> None:
    network = NETWORKS["vgg_shaped"]()
    data = batches(network, 3)
    how = options("vgg_shaped", precision=precision)
    expected = train(network, data, "arena", device=SimulatedDevice(), **how)
    assert train(network, data, "arena", device=CudaDevice(graphs=graphs), **how) == expected


@pytest.mark.slow
def test_a_step_on_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets code of its own architecture and tiles within its own shared memory; the split of
    a sum, and so the last bits, may be others."""
    network = NETWORKS["alexnet_shaped"]()
    data, how = batches(network, 2), options("alexnet_shaped", precision="bf16")
    expected = train(network, data, "arena", device=SimulatedDevice(), **how).losses
    for capability in (80, 86, 89, 90, 100, 120):
        fake_cupy.install(monkeypatch, capability)
        device = CudaDevice()
        assert device.capability == capability
        found = train(network, data, "arena", device=device, **how).losses
        numbers = ([float.fromhex(loss) for loss in losses] for losses in (found, expected))
        np.testing.assert_allclose(*numbers, rtol=ERRORS["bf16"], err_msg=str(capability))


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
@pytest.mark.parametrize(
    ("how", "copies"), [({}, 3), ({"accumulate": 2}, 3), ({"prefetch": True}, 5)], ids=str
)
def test_a_step_is_one_launch_of_a_graph(
    how: dict[str, int], copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the third call of each program on: no kernel is launched by itself, nothing allocated;
    images, labels and the loss are copied, with prefetch the first two once more."""
    asked = counted(monkeypatch)
    network = NETWORKS["alexnet_shaped"]()
    step = dl.compile(network, BATCH, device="cuda", **options("alexnet_shaped", **how))
    data = batches(network, 4)
    for batch in data:
        step(*batch)
    launched, before = sum(fake_cupy.GRAPHS), dict(asked)
    for batch in data:
        step(*batch)
    assert sum(fake_cupy.GRAPHS) - launched == 4, "one graph a step"
    done = {name: asked[name] - before.get(name, 0) for name in asked}
    assert done.pop("memcpyAsync") == 4 * copies
    assert not any(done.values()), done
    assert len(fake_cupy.Memory.taken) == 1


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the runtime and the driver are asked to do what costs time."""
    asked: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            asked[name] += 1
            return function(*arguments)

        return call

    for part, names in (
        ("driver", ("launchKernel", "funcSetAttribute")),
        ("runtime", ("memcpyAsync", "memsetAsync", "deviceSynchronize", "memGetInfo")),
    ):
        for name in names:
            space = getattr(fake_cupy.cuda, part)
            monkeypatch.setattr(space, name, counting(name, getattr(space, name)))
    return asked


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(
    ("name", "count", "memory", "known"),
    [
        ("NVIDIA H100 80GB HBM3", 132, 85_520_809_984, "h100"),
        ("NVIDIA H100 PCIe", 114, 85_520_809_984, "h100-pcie"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 16, 10 * 2**30, ""),
    ],
)
def test_a_step_is_planned_for_the_card_that_is_there(
    name: str, count: int, memory: int, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"name": name.encode(), "multiProcessorCount": count, "totalGlobalMem": memory}
    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceProperties", lambda index: said)
    network = dl.Sequential(dl.Input((8,)), dl.Linear(3))
    card = dl.compile(network, BATCH, device="cuda").plan.options.card
    assert card is not None
    assert card.name == (known or name)
    assert (card.multiprocessors, card.architecture) == (count, "sm_90a")
    assert card == BY_NAME[known] if known else card.memory == memory
    assert dl.plan(network, BATCH, device="cuda").options.card is DEFAULT, "touches no device"


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
    images, labels = step.plan.graph.waiting
    more = sum(-(-t.nbytes // 256) * 256 for t in (images, labels))
    assert step.plan.arena_bytes == plain.plan.arena_bytes + more
    losses = list(step.feed(data[:3]))
    assert losses == [plain(*batch) for batch in data[:3]]
    np.testing.assert_array_equal(step.predict(data[0][0]), plain.predict(data[0][0]))
    assert step(*data[3]) == plain(*data[3])
    check_file(placed_to_dict(step.plan))
    with pytest.raises(dl.ArgumentError, match="leave it out on cpu"):
        dl.compile(network, BATCH, prefetch=True)


@pytest.mark.usefixtures("cupy")
def test_what_is_written_ahead_waits_for_what_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of the two streams: each batch arrives whole, and none is written over
    before it was moved. Without a wait some order shows it."""

    def arrived() -> list[bool]:
        right = []
        for i in range(40):
            fake_cupy.install(monkeypatch, random=random.Random(SEED + i))
            device = CudaDevice()
            memory = device.allocate(768, 256)
            kept = []
            for batch in range(3):
                device.write_ahead(memory, 256, np.full(256, batch, np.uint8))
                device.move(memory, 0, 256, 256)
                kept.append(device.later(memory, 0, 256))
            right.append(all((read() == batch).all() for batch, read in enumerate(kept)))
        return right

    assert all(arrived())
    with monkeypatch.context() as patched:
        patched.setattr(CudaDevice, "after_copies", lambda self: None)
        assert not all(arrived()), "no wait for what was written ahead"
    with monkeypatch.context() as patched:
        never = property(lambda self: None, lambda self, event: None)
        patched.setattr(CudaDevice, "_moved", never, raising=False)
        assert not all(arrived()), "no wait for what was moved"


@pytest.mark.usefixtures("cupy")
def test_state_goes_in_and_comes_out() -> None:
    network = NETWORKS["vgg_shaped"]()
    here = dl.compile(network, BATCH, **options("vgg_shaped"))
    there = dl.compile(network, BATCH, device="cuda", **{**options("vgg_shaped"), "seed": 9})
    there.load_state_dict(here.state_dict())
    for name, array in here.state_dict().items():
        np.testing.assert_array_equal(there.state_dict()[name], array)
    images = batches(network, 1)[0][0]
    np.testing.assert_allclose(
        there.predict(images[:2]), here.predict(images[:2]), rtol=0, atol=1e-5
    )


@pytest.mark.usefixtures("cupy")
def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["vgg_shaped"]()
    device = CudaDevice()
    (card,) = fake_cupy.MACHINE.cards
    card.others = card.total - card.context - 200_000
    with pytest.raises(dl.ArenaTooLargeError, match=r"the device has .* free, .*: batch \d+ fits"):
        dl.compile(network, 64, device=device)
    monkeypatch.setattr(fake_cupy.cuda.runtime, "memGetInfo", lambda: (LARGE, LARGE))
    card.others = card.total - card.context - 100
    with pytest.raises(dl.ArenaTooLargeError, match=r"refused .* in one piece"):
        dl.compile(network, 4, device=device)


@pytest.mark.usefixtures("cupy")
def test_steps_that_share_a_kernel_each_get_their_shared_memory() -> None:
    """First layers of 11x11 and of 9x9: one kernel, of which the first step asks for more."""
    device, data = CudaDevice(graphs=False), np.random.default_rng()
    image = data.normal(size=(2, 27, 27, 3))
    steps = []
    for side in (11, 9):
        layers = dl.Conv2d(8, side, stride=4), dl.Flatten(), dl.Linear(CLASSES)
        steps.append(dl.compile(dl.Sequential(*layers), 2, device=device, image=(27, 27, 3)))
    wgrads = [
        launch
        for step in steps
        for op in step.plan.graph.ops
        if "conv2d_wgrad" in op.kernel
        for launch in launches_of(op)
    ]
    first, second = wgrads
    assert unit_of(first) == unit_of(second)
    assert first.shared > second.shared > 48 * 1024
    for step in steps:
        assert np.isfinite(step(image, data.integers(0, CLASSES, 2)))


LARGE = 2**40


def test_precisions_and_devices_that_do_not_fit() -> None:
    network = NETWORKS["vgg_shaped"]()
    with pytest.raises(dl.ArgumentError, match="'bf16' is a mode of CUDA's tensor cores"):
        dl.compile(network, BATCH, precision="bf16")
    with pytest.raises(dl.ArgumentError, match="'float64' is for the CPU device"):
        dl.compile(network, BATCH, precision="float64", device=SimulatedDevice())
