"""Random networks on the CUDA device, run on the CPU: the same bits in every mode, as the CPU in
float64 has them but for rounding.

They are drawn anew each time; MINIDL_TEST_SEED repeats them.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

import minidl as dl
from minidl.devices.kernels import Unit, unit_of
from minidl.ir import Array
from minidl.ops.cuda import launches_of
from tests.compiler.conftest import quick_placement  # noqa: F401 - a fixture
from tests.compiler.random_networks import CLASSES, described
from tests.layers.harness import SEED
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.random_networks import BATCH, random_network, random_optimizer
from tests.training import OTHER_MODES, random_batches, train, variables

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.usefixtures("quick_placement"),
]

ERRORS = {"float32": 1e-5, "tf32": 1e-2, "bf16": 6e-2}
"""Bounds of ||found - expected|| / ||expected|| after one step."""
ROUNDING = {"float32": 30, "tf32": 30 * 2**13, "bf16": 30 * 2**16}
"""How much further off than the CPU device in float32 they may be: units in the last place of each,
in those of float32. It counts where a network magnifies its rounding."""


@pytest.mark.parametrize("precision", ERRORS)
def test_kernels_of_every_shape_are_right(precision: str) -> None:
    require_kernels(precision, 3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ERRORS)
def test_kernels_of_many_networks_are_right(precision: str) -> None:
    require_kernels(precision, 30)


def require_kernels(precision: str, count: int) -> None:
    """Every kernel of some networks in the default mode is C++ that a compiler takes."""
    chance = random.Random(f"{SEED} {precision} {count}")
    units: dict[str, Unit] = {}
    for _ in range(count):
        network, optimizer = random_network(chance, few=False), random_optimizer(chance)
        print(f"MINIDL_TEST_SEED={SEED}\n{optimizer!r}\n{described(network)}")
        how = {"optimizer": optimizer, "precision": precision, "device": "cuda"}
        for op in dl.plan(network, BATCH, **how).graph.ops:
            units.update((unit.entry, unit) for unit in map(unit_of, launches_of(op)))
    SimulatedDevice().toolchain.require_valid(units.values())


@pytest.mark.parametrize("number", range(1))
@pytest.mark.parametrize("precision", ERRORS)
def test_of_few_shapes(precision: str, number: int) -> None:
    check(precision, number, few=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("precision", ERRORS)
def test_of_every_shape(precision: str, number: int) -> None:
    check(precision, number, few=False)


def check(precision: str, number: int, few: bool) -> None:
    chance = random.Random(f"{SEED} {precision} {number} {few}")
    network, optimizer = random_network(chance, few), random_optimizer(chance)
    print(f"MINIDL_TEST_SEED={SEED}\n{optimizer!r}\n{described(network)}")
    data = random_batches(np.random.default_rng([SEED, number]), BATCH, network.image, CLASSES)
    how = {"optimizer": optimizer, "seed": number}
    there = {**how, "precision": precision, "device": SimulatedDevice(seed=number)}
    exact, single = (
        taken(dl.compile(network, BATCH, precision=of, **how), data[0])
        for of in ("float64", "float32")
    )
    found = taken(dl.compile(network, BATCH, memory="naive", **there), data[0])
    for name, expected in judged(exact, precision).items():
        scale, condition = (
            np.linalg.norm(expected),
            np.linalg.norm(judged(single, precision)[name] - expected),
        )
        bound = ERRORS[precision] * scale + ROUNDING[precision] * condition + 1e-7
        assert np.linalg.norm(judged(found, precision)[name] - expected) <= bound, name

    expected_bits = train(network, data, "naive", **there)
    for memory in OTHER_MODES:
        assert train(network, data, memory, **there) == expected_bits, memory
    assert train(network, data, "arena", recompute=0.3, **there) == expected_bits


def judged(state: dict[str, Array], precision: str) -> dict[str, Array]:
    """Tensor by tensor in float32. In fewer bits all together: where an element is rounded across a
    ReLU's 0, a tensor of a few elements is another one."""
    if precision == "float32":
        return state
    return {"all": np.concatenate([np.ravel(array) for array in state.values()])}


def taken(step: dl.Step, batch: tuple[Array, Array]) -> dict[str, Array]:
    """The loss of one step, and what follows from the gradients in proportion: momentum, means."""
    loss = step(*batch)
    states = {
        name: array.astype(np.float64)
        for name, array in variables(step).items()
        if name.endswith((".momentum", ".exp_avg", ".running_mean", ".running_var"))
    }
    return {"loss": np.float64(loss), **states}
