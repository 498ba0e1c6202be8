"""`first-contact` on the stand-in: a fault of each kind, and the table has these and no other.

The faults are in copies of the kernels' sources, or in the stand-in for the GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.stand_in import KERNELS
from tests.drawn import drawn
from tests.simulator.build import COMPILER
from tests.simulator.gpu_parts import Found, mutated, started

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

SECONDS = 240
BEGIN = "run(const Params& p, Shared&) {"
"""How a kernel's body begins that needs no shared memory."""

HAS_SLEEP = ("#include", 'extern "C" int usleep(unsigned);\n#include')
"""A kernel that never ends need not take a core from the other tests."""


def first_contact(out: Path, only: str, **how: Any) -> Found:
    return started("first-contact", out, only, **how)


def test_no_fault_is_found_where_there_is_none(tmp_path: Path) -> None:
    only = (
        "environment|ops ((activation-relu|lrn-lrn) float32|(merge-add|linear-one) bf16)$"
        "|modes vgg_shaped float32 (naive|caffe|arena)|in place activation-relu float32"
        "|steps (copy|product|vgg_shaped b3 float32)"
    )
    found = first_contact(tmp_path, only, MINIDL_COMMIT="abc123")
    assert found.listed("FAULTS") == []
    assert found.listed("LEFT OUT") == []
    assert found.status == 0
    assert "  ops: 4 passed of 4" in found.table
    assert "  modes: 3 passed of 3" in found.table
    assert "  in place: 1 passed of 1" in found.table
    assert "  steps: 10 passed of 10" in found.table
    assert {row["result"] for row in found.rows if "case" in row} == {"passed"}
    steps = {row["case"]: row for row in found.rows if row["phase"] == "steps" and "case" in row}
    assert steps["vgg_shaped b3 float32 once"]["graphs"] == 4
    beside = steps["vgg_shaped b3 float32 beside eager"]
    assert beside["engine_ms"] == 3.0
    assert beside["ms"] > 0
    profile = steps["vgg_shaped b3 float32 ops"]
    assert len(profile["ops"]) > 20
    assert all(op["ms"] > 0 and op["floor_ms"] >= 0 for op in profile["ops"])
    assert profile["slowest"][0]["op"] in found.table


def test_every_fault_is_found_and_no_other(tmp_path: Path) -> None:
    changes = {
        "lrn.cu": [("fmaf(sum, alpha_of_one, k);", "fmaf(sum, alpha_of_one, k + 0.5f);")],
        "dropout.cu": [(BEGIN, f"{BEGIN} for (;;) usleep(100000);"), HAS_SLEEP],
        "normalize.cu": [(BEGIN, f"{BEGIN} *(volatile int*)8 = 1;")],
        "merge.cu": [("#include", "#error no such thing\n#include")],
    }
    kernels = mutated(tmp_path / "kernels", changes)
    faults = {"raise": ["avgpool2d_forward"], "sticky": ["adaptive_avgpool2d_forward"]}
    ops = ("activation-relu", "activation-tanh", "dropout-half", "linear-one", "lrn-lrn")
    ops += ("merge-add", "normalize-normalize", "pool2d-avg-2", "pool2d-bins", "pool2d-max-2")
    found = first_contact(
        tmp_path / "out",
        f"environment|ops ({'|'.join(ops)}) float32$",
        workers=2,
        faults=faults,
        silence=12,
        **{KERNELS: kernels},
    )
    assert sorted(found.listed("FAULTS")) == [
        "compile: Elementwise: failed",
        "ops: dropout-half float32: hung",
        "ops: lrn-lrn float32: wrong",
        "ops: merge-add float32: failed",
        "ops: normalize-normalize float32: died",
        "ops: pool2d-avg-2 float32: failed",
        "ops: pool2d-bins float32: sticky",
    ]
    assert found.listed("LEFT OUT") == []
    assert found.status == 1
    assert "  ops: 4 passed" in found.table
    assert "no such thing" in found.table
    assert "bounds" in found.table
    assert "signal SIGSEGV" in found.table
    assert "nothing for 12 s" in found.table
    assert "cudaErrorIllegalAddress" in (tmp_path / "out" / "errors.txt").read_text()


def test_faults_of_a_step_are_found(tmp_path: Path) -> None:
    faults = {"graphs": [], "engine raises": ["eager step"]}
    only = "environment|modes vgg_shaped float32 (naive|arena)"
    only += "|steps vgg_shaped b3 float32 (once|beside)"
    found = first_contact(tmp_path, only, faults=faults)
    assert found.listed("FAULTS") == [
        "steps: vgg_shaped b3 float32 once: wrong",
        "steps: vgg_shaped b3 float32 beside eager: failed",
    ]
    assert "'graphs': 0" in found.table


def test_out_of_time_says_what_is_left_out(tmp_path: Path) -> None:
    found = first_contact(tmp_path, "environment|ops activation-relu float32", seconds=1)
    assert found.listed("LEFT OUT")
    assert found.listed("FAULTS") == []
    assert found.table.startswith("ENVIRONMENT")


@pytest.mark.slow
def test_a_wrong_kernel_is_found_in_modes_and_steps(tmp_path: Path) -> None:
    tap = ("h % H * W + w % W", "w % W * H + h % H")
    kernels = mutated(tmp_path / "kernels", {"pooled.cuh": [tap]})
    found = first_contact(
        tmp_path / "out",
        "environment|modes vgg_shaped float32|steps vgg_shaped b3 float32 (once|float64)",
        **{KERNELS: kernels},
    )
    assert found.listed("FAULTS") == [
        "modes: vgg_shaped float32 arena: wrong",
        "steps: vgg_shaped b3 float32 float64: wrong",
    ]


@pytest.mark.slow
def test_the_whole_of_it_finds_no_fault(tmp_path: Path) -> None:
    """All cases of a precision, float32 or bf16 in a session, as many as there is time for."""
    for other in drawn(["float32", "bf16"], 2):
        but = f"^(?!.*(tf32|{other}))"
        found = first_contact(tmp_path / other, but, seconds=SECONDS, workers=2)
        assert found.listed("FAULTS") == []
        passed = {row["phase"] for row in found.rows if row.get("result") == "passed"}
        assert passed >= {"environment", "compile", "ops", "steps"}  # the rest where it is fast
