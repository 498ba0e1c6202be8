"""What no card can launch is refused when a plan is made, by one error that says what and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.fitting import largest_fitting
from minidl.ir import Contract, LimitError, Op, ShapeError, Tensor
from minidl.layers.base import Layer
from minidl.layers.network import as_network
from minidl.ops.activation import tanh_forward
from minidl.ops.cuda import Launch, Limits, check_launches, launches_of
from minidl.ops.cuda.launch import pack
from minidl.ops.cuda.limits import require_launchable

PRECISIONS = ("float32", "tf32", "bf16")
CARD = "rtx4090"
"""A block has 99 KiB of shared memory: the least of all cards."""


def plan(layers: list[Layer], image: tuple[int, ...], batch: int, **how: Any) -> dl.Plan:
    net = as_network(dl.Sequential(*layers), image)
    return dl.plan(net, batch, device="cuda", **{"memory": "liveness", **how})


def launches(plan: dl.Plan) -> list[Launch]:
    return [launch for op in plan.graph.ops for launch in launches_of(op)]


# -- any layer of any size -------------------------------------------------------------------------


def large(most: int) -> st.SearchStrategy[int]:
    """Numbers of every size, and those beside powers of two."""
    power = st.one_of(st.integers(0, min(most, 6)), st.integers(0, most))
    return st.builds(lambda p, more: max(1, 2**p + more), power, st.integers(-1, 1))


PIXELS: dict[str, Callable[[int, int], Layer]] = {
    "conv": lambda n, k: dl.Conv2d(n, 1 + k % 3, stride=1 + k % 2, padding=k % 2),
    "dilated": lambda n, k: dl.Conv2d(n, 2, dilation=1 + k, bias=False),
    "batchnorm": lambda n, k: dl.BatchNorm2d(),
    "lrn": lambda n, k: dl.LocalResponseNorm(1 + n),
    "maxpool": lambda n, k: dl.MaxPool2d(1 + k % 4, 1 + k % 3),
    "avgpool": lambda n, k: dl.AvgPool2d(1 + n, 1 + k % 7),
    "bins": lambda n, k: dl.AdaptiveAvgPool2d((n, 1 + k)),
    "dropout": lambda n, k: dl.Dropout(0.5),
    "relu": lambda n, k: dl.ReLU(),
    "gelu": lambda n, k: dl.GELU(),
    "normalize": lambda n, k: dl.Normalize((0.5,) * min(n, 3000), 2.0),
}


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(sorted(PIXELS)), large(33), st.integers(0, 9)), max_size=2),
    st.tuples(large(20), large(20), large(33)),
    large(24),
    st.tuples(large(33), st.sampled_from(PRECISIONS), st.sampled_from(["naive", "arena"])),
)
def test_a_plan_can_be_launched_or_is_refused(
    drawn: list[tuple[str, int, int]],
    image: tuple[int, int, int],
    batch: int,
    rest: tuple[int, str, str],
) -> None:
    features, precision, memory = rest
    layers = [PIXELS[name](n, k) for name, n, k in drawn]
    layers += [dl.Conv2d(8, 1), dl.Flatten(), dl.Linear(features)]
    note(f"{layers} on {batch} x {image}")
    try:
        found = launches(plan(layers, image, batch, precision=precision, memory=memory, gpu=CARD))
    except (ShapeError, LimitError):
        return
    for launch in found:
        assert all(blocks >= 1 for blocks in launch.grid)
        assert launch.grid[0] < 2**31
        assert max(launch.grid[1:]) <= 65_535
        assert launch.threads <= 1024
        assert launch.shared <= 99 * 1024
        assert len(pack(launch.arguments, lambda _: 0)) <= 4096


# -- each limit ------------------------------------------------------------------------------------


def test_lrn_of_more_channels_than_shared_memory_holds() -> None:
    plan([dl.Conv2d(4, 1), dl.LocalResponseNorm(), dl.Flatten(), dl.Linear(2)], (1, 1, 3), 1)
    layers = [dl.Conv2d(8449, 1), dl.LocalResponseNorm(), dl.Flatten(), dl.Linear(2)]
    refused = r"^1\.lrn_dgrad .*8449.*needs 101,388 bytes of shared memory.* fewer channels"
    with pytest.raises(LimitError, match=refused):
        plan(layers, (1, 1, 3), 1, gpu=CARD)
    plan(layers, (1, 1, 3), 1, gpu="h100")
    layers[0] = dl.Conv2d(8448, 1)
    ops = plan(layers, (1, 1, 3), 1, gpu=CARD).graph.ops
    with pytest.raises(LimitError, match="lrn_forward"):
        check_launches(ops, Limits(shared=32 * 1024))
    check_launches(ops, Limits(shared=227 * 1024))


@pytest.mark.parametrize("inputs", [2, 32, 33, 300])
def test_sums_of_many_inputs_and_of_many_gradients(inputs: int) -> None:
    x = dl.Input((8,))
    y = dl.Linear(8)(x)
    total = dl.Add()(*(dl.Linear(8)(y) for _ in range(inputs)))
    network = dl.Network(x, total)
    for memory in ("naive", "arena")[: 2 if inputs < 40 else 1]:
        found = dl.plan(network, 2, device="cuda", memory=memory)
        kernels = [launch for launch in launches(found) if "add_forward" in launch.kernel]
        assert len(kernels) == -(-(inputs - 1) // 31)


def test_constants_of_many_channels() -> None:
    layers = [dl.Normalize((0.5,) * 2000, 2.0), dl.Linear(2)]
    found = [
        launch for launch in launches(plan(layers, (2000,), 2)) if "normalize" in launch.kernel
    ]
    assert len(found) == 8


def test_rows_of_any_length_where_nobody_asks_for_the_next() -> None:
    elementwise = Contract(elementwise=True)
    for size in (2**31 - 1, 2**31, 2**35):
        x, y = (Tensor(name, (1, size), "float32", "activation") for name in "xy")
        check_launches([Op(tanh_forward, "", "forward", (y,), (x,), contract=elementwise)])


@pytest.mark.parametrize("limit", ["grid", "threads", "shared", "parameters"])
def test_every_limit_is_asked_about(limit: str) -> None:
    """Each by itself, one below what the launch needs."""
    ops = plan([dl.Linear(9)], (7,), 3).graph.ops[:1]
    (launch,) = launches_of(ops[0])
    shared, parameters = launch.shared, len(pack(launch.arguments, lambda _: 0))
    needs = Limits((launch.grid[0], 1, 1), launch.threads, shared, parameters)
    check_launches(ops, needs)
    less: dict[str, Any] = {
        "grid": {"grid": (launch.grid[0] - 1, 1, 1)},
        "threads": {"threads": launch.threads - 1},
        "shared": {"shared": shared - 1},
        "parameters": {"parameters": parameters - 1},
    }
    with pytest.raises(LimitError, match=r"0\.linear_forward \(\(3, 9\) from \(3, 7\)"):
        check_launches(ops, replace(needs, **less[limit]))


def test_indices_of_31_bits() -> None:
    ops = plan([dl.Linear(9)], (7,), 3).graph.ops
    (launch,) = launches_of(ops[0])
    require_launchable(ops[0], [replace(launch, counted=2**31 - 1)])
    with pytest.raises(LimitError, match=r"0\.linear_forward .* 2,147,483,648 counts"):
        require_launchable(ops[0], [replace(launch, counted=2**31)])


# -- the largest batch -----------------------------------------------------------------------------


def test_the_largest_batch_can_be_launched() -> None:
    """That memory has room for more does not help."""
    layers = [dl.Conv2d(1, 1), dl.MaxPool2d(3, 1), dl.Flatten(), dl.Linear(2)]
    found = plan(layers, (64, 64, 1), 2)
    most = (2**31 - 1) // 64**2
    assert found.largest_batch("100TiB") == most
    with pytest.raises(LimitError, match="smaller batch"):
        plan(layers, (64, 64, 1), most + 1)


@pytest.mark.parametrize("start", [1, 7, 1000])
def test_batches_that_cannot_be_launched_do_not_fit(start: int) -> None:
    generator = np.random.default_rng()
    for most in (0, 1, 6, int(generator.integers(2, 10**6))):

        def needs(batch: int, most: int = most) -> int:
            if batch > most:
                raise LimitError("too large")
            return 10 * batch

        assert largest_fitting(needs, 10**9, start) == most
        assert largest_fitting(needs, 50, start) == min(most, 5)


@pytest.mark.parametrize("known", [(), (1,), (90,), (3, 40), (9, 10), (10, 11), (200, 300)])
def test_what_is_known_is_not_planned_again(known: tuple[int, ...]) -> None:
    asked: list[int] = []

    def needs(batch: int) -> int:
        asked.append(batch)
        return 7 + 10 * batch

    assert largest_fitting(needs, 110, 64, {n: 7 + 10 * n for n in known}) == 10
    assert not {*known} & {*asked}
    assert len({*known, *asked}) == len(known) + len(asked) <= len(known) + 6
