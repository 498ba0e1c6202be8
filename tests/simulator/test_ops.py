"""Every case of the op table on the CUDA device, run on the CPU."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import tests.layers
from tests.layers.harness import Case
from tests.simulator.bench import (
    ERRORS,
    assert_close,
    in_place_differences,
    prepare_case,
    run_case,
    units_of,
)
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

LAYERS = sorted(path.stem for path in Path(tests.layers.__path__[0]).glob("test_*.py"))


def cases() -> list[tuple[str, Case]]:
    found = []
    for stem in LAYERS:
        module = importlib.import_module(f"tests.layers.{stem}")
        found += [(stem.removeprefix("test_"), case) for case in getattr(module, "CASES", ())]
    return found


TABLE = cases()
IDS = [f"{stem}-{case.id}" for stem, case in TABLE]


@pytest.fixture(scope="module", autouse=True)
def kernels(request: pytest.FixtureRequest) -> None:
    """The kernels of all tests that will run, compiled together."""
    tests = (item.callspec.params for item in request.session.items if item.path == request.path)
    wanted = {(test["case"].id, test["stem"], test["precision"]): test for test in tests}
    prepared = [prepare_case(test["case"], test["precision"]) for test in wanted.values()]
    SimulatedDevice().prepare(units_of(prepared))


@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize(("stem", "case"), TABLE, ids=IDS)
def test_op(stem: str, case: Case, precision: str) -> None:
    run = run_case(case, precision, SimulatedDevice(seed=len(case.id)))
    bound = max(ERRORS[precision], 4 * case.float32_error)
    assert_close(run, bound)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(("stem", "case"), TABLE, ids=IDS)
def test_in_place_changes_no_bit(stem: str, case: Case, precision: str) -> None:
    assert not in_place_differences(case, precision, SimulatedDevice(seed=1))
