"""A layer from outside: trained, verified, run and cached like one of minidl's own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.checkout import kernels_folder
from minidl.compiler.modes import MODES
from minidl.devices.cuda import CudaDevice
from minidl.devices.kernels import Unit, digest_of, unit_of
from minidl.ir import ArgumentError, Array, Contract, Op, PlanError, Tensor
from minidl.ir.op import Function
from minidl.layers.network import as_network
from minidl.ops.activation import relu_forward
from minidl.ops.cuda import CppFile, functor, launches_of, rule
from minidl.ops.cuda.rules import KERNELS
from minidl.placed.file import placed_to_dict
from minidl.placed.verify import verify
from minidl.placed.verify.file import check_file
from tests.layers.harness import BadCase, Case, Check, each_check, each_refusal, refuses
from tests.outside.smooth import Softplus, Swish, functions
from tests.outside.smooth import cuda as smooth
from tests.simulator import fake_cupy
from tests.simulator.bench import ERRORS, check_case, run_case
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.training import assert_same_bits_in_every_mode, random_batches, train

HERE = Path(smooth.__file__).parent
compiled = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


def swish(x: Array, beta: Array) -> Array:
    return x / (1 + np.exp(-beta * x))


CASES = [
    Case(
        "softplus",
        lambda: Softplus(0.7),
        ((3, 4, 2, 5),),
        lambda x: np.log1p(np.exp(0.7 * x)) / 0.7,
    ),
    Case("swish-images", Swish, ((2, 5, 4, 3),), swish),
    Case("swish-vectors", Swish, ((7, 11),), swish),
    Case("swish-parts", Swish, ((3, 9, 11, 512),), swish),
]
BAD = [BadCase("swish-flat", Swish, ((4,),), "needs channels behind the batch")]


@each_check(CASES)
def test_values_and_gradients(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


@compiled
@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_its_kernels(case: Case, precision: str) -> None:
    check_case(case, precision, SimulatedDevice(seed=3))


# -- whole steps -----------------------------------------------------------------------------------

CLASSES, BATCH, IMAGE = 3, 4, (8, 8, 3)
SGD = dl.SGD(lr=0.05, momentum=0.9)


def network() -> dl.Network:
    """Both layers, each behind a product; and ops without them, for their keys to stay."""
    layers = (
        dl.Conv2d(8, 3, padding=1),
        Softplus(2.0),
        dl.MaxPool2d(2),
        dl.Conv2d(8, 3, padding=1),
        Swish(),
        dl.Flatten(),
        dl.Linear(12),
        dl.ReLU(),
        dl.Linear(CLASSES),
    )
    return as_network(dl.Sequential(*layers), IMAGE)


def test_it_learns() -> None:
    (batch,) = random_batches(np.random.default_rng(), BATCH, IMAGE, CLASSES, 1)
    step = dl.compile(network(), BATCH, optimizer=SGD)
    losses = [step(*batch) for _ in range(30)]
    assert losses[-1] < losses[0] / 4
    assert (step.array("4.beta") != 1).all()


def test_every_mode_has_the_same_bits() -> None:
    data = random_batches(np.random.default_rng(), BATCH, IMAGE, CLASSES)
    assert_same_bits_in_every_mode(network(), data, optimizer=SGD)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("memory", MODES)
def test_its_plans_are_proved(memory: str, device: str) -> None:
    plan = dl.plan(network(), batch=BATCH, optimizer=SGD, memory=memory, device=device)
    names = {name for op in plan.graph.ops for name in op.kernel.split("+")}
    assert {"softplus_forward", "softplus_dgrad", "swish_forward", "swish_wgrad"} <= names
    verify(plan)
    check_file(placed_to_dict(plan))


@compiled
def test_every_mode_has_the_same_bits_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the simulated device; and by CUDA's own code on the stand-in for CuPy."""
    data = random_batches(np.random.default_rng(), BATCH, IMAGE, CLASSES)
    how = {"optimizer": SGD, "seed": 5}
    found = assert_same_bits_in_every_mode(network(), data, device=SimulatedDevice(), **how)
    fake_cupy.install(monkeypatch)
    assert train(network(), data, "arena", device=CudaDevice(), **how) == found


# -- what a unit is made of ------------------------------------------------------------------------


def units() -> list[Unit]:
    plan = dl.plan(network(), batch=BATCH, optimizer=SGD, device="cuda")
    launches = (launch for op in plan.graph.ops for launch in launches_of(op))
    return list({unit.entry: unit for unit in map(unit_of, launches)}.values())


def keys(of: Iterable[Unit], folder: Path) -> dict[str, str]:
    """Digests of what each unit is made of, the package's files taken from a folder."""

    def folders(unit: Unit) -> Iterator[Path]:
        yield kernels_folder()
        yield from (folder if own == HERE else own for own in unit.folders)

    return {unit.entry: digest_of(unit.source, tuple(folders(unit))) for unit in of}


def test_an_edit_changes_the_keys_of_its_units_and_nobody_elses(tmp_path: Path) -> None:
    every = units()
    before = keys(every, HERE)
    copy = Path(shutil.copytree(HERE, tmp_path / "smooth"))
    assert keys(every, copy) == before, "where the files lie is no part of a key"
    with (copy / "smooth.cu").open("a") as file:
        file.write("// edited\n")
    after = keys(every, copy)
    changed = {unit.entry for unit in every if before[unit.entry] != after[unit.entry]}
    assert changed == {unit.entry for unit in every if "smooth.cu" in unit.source}
    fused = [unit for unit in every if '"conv2d.cu"' in unit.source and unit.entry in changed]
    assert fused, "no product has a functor of the package behind it"
    assert changed < before.keys()


@compiled
def test_an_edited_file_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stated with another folder, the kernel is that folder's."""
    copy = Path(shutil.copytree(HERE, tmp_path / "smooth"))
    text = (copy / "smooth.cu").read_text()
    (copy / "smooth.cu").write_text(text.replace("{ y = x * logistic", "{ y = 2.f + x * logistic"))
    case = CASES[2]
    run = run_case(case, "float32", SimulatedDevice())
    np.testing.assert_allclose(run.found["layer.y"], run.expected["layer.y"], atol=1e-5)
    elsewhere = replace(KERNELS[functions.swish_forward], file=CppFile("smooth.cu", copy))
    monkeypatch.setitem(KERNELS, functions.swish_forward, elsewhere)
    run = run_case(case, "float32", SimulatedDevice())
    np.testing.assert_allclose(run.found["layer.y"], 2 + run.expected["layer.y"], atol=1e-5)


def test_a_file_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    """Which of them a compiler takes is its own affair."""
    copy = Path(shutil.copytree(HERE, tmp_path / "smooth"))
    (copy / "reduce.cuh").write_text("// another one\n")
    unit = next(unit for unit in units() if "swish_forward" in unit.source)
    with pytest.raises(ArgumentError, match=r"reduce\.cuh and .*reduce\.cuh are included by one"):
        digest_of(unit.source, (kernels_folder(), copy))


# -- names -----------------------------------------------------------------------------------------


@pytest.fixture
def kernels_as_before() -> Iterator[None]:
    """What a test states is forgotten."""
    before = dict(KERNELS)
    yield
    KERNELS.clear()
    KERNELS.update(before)


def namesake(name: str):  # type: ignore[no-untyped-def]
    """Another function of that name."""

    def function(y: Array, x: Array) -> None:
        y[...] = x

    function.__name__ = name
    return function


def as_rule(function: Function, file: CppFile) -> None:
    rule(function, file=file)(lambda op: [])


@pytest.mark.usefixtures("kernels_as_before")
@pytest.mark.parametrize(
    ("function", "stated_in"),
    [
        (functions.swish_forward, "smooth/cuda.py"),
        (namesake("swish_forward"), "smooth/cuda.py"),
        (relu_forward, "ops/cuda/activation.py"),
        (namesake("relu_forward"), "ops/cuda/activation.py"),
    ],
)
@pytest.mark.parametrize("state", [functor, as_rule])
def test_a_name_is_stated_once(function, stated_in: str, state) -> None:  # type: ignore[no-untyped-def]
    before = dict(KERNELS)
    name, here = function.__name__, re.escape(__file__)
    both = rf"^{here}:\d+: a kernel {name} is stated at \S+/{stated_in}:\d+ already"
    with pytest.raises(ArgumentError, match=both):
        state(function, file=smooth.FILE)
    assert before == KERNELS


@pytest.mark.usefixtures("kernels_as_before")
def test_a_function_is_looked_up_by_itself_and_not_by_its_name() -> None:
    x, y = (Tensor(name, (2, 8), "float32", "activation") for name in "xy")
    elementwise = Contract(elementwise=True)
    stranger = Op(namesake("relu_forward"), "", "forward", (y,), (x,), contract=elementwise)
    with pytest.raises(PlanError, match="relu_forward has no CUDA kernel: state one"):
        launches_of(stranger)
    mine = replace(stranger, function=namesake("cube"))
    functor(mine.function, file=CppFile("cubes.cu", HERE))
    (launch,) = launches_of(mine)
    assert unit_of(launch).source.startswith('#include "cubes.cu"\n')
    assert unit_of(launch).folders == (HERE,)
