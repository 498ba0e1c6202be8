"""A forward op that runs a second time is launched as it was the first time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minidl.devices.known import target_of
from minidl.ir import Lowering, Tensor
from minidl.ops.cuda import launches_of
from minidl.options import Options
from tests.layers.harness import Case
from tests.simulator.test_ops import IDS, TABLE

ON_CUDA = Options(device="cuda")


@pytest.mark.parametrize("case", [case for _, case in TABLE], ids=IDS)
def test_a_phase_changes_no_launch(case: Case) -> None:
    lowering = Lowering(case.shapes[0][0], training=case.training, target=target_of(ON_CUDA))
    inputs = (Tensor(f"x{i}", s, "float32", "activation") for i, s in enumerate(case.shapes))
    case.layer().apply(lowering, "layer", *inputs)
    ops = [op for site in lowering.sites for op in site.forward_ops]
    for op in ops:
        assert launches_of(replace(op, phase="recompute")) == launches_of(op), op.kernel
