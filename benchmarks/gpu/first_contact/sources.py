"""The kernels that the other phases will run, by what needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import minidl as dl
from benchmarks.gpu.first_contact import reference
from benchmarks.gpu.first_contact.correctness import MODE_CASES, OP_CASES
from benchmarks.gpu.names import PRECISIONS, REFERENCED
from benchmarks.gpu.network import Case, optimizer
from minidl.compiler.lower import Target, lower_inference
from minidl.compiler.planner import make_plan
from minidl.devices.kernels import Unit, unit_of
from minidl.ir import Op, Plan
from minidl.launches import launches_of
from tests.simulator.bench import prepare_case
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, options


@dataclass(frozen=True)
class Source:
    """A case of another phase, and the ops that it will run."""

    name: str
    ops: Callable[[], Iterable[Op]]

    def units(self) -> list[Unit]:
        launches = [launch for op in self.ops() for launch in launches_of(op)]
        return list({unit.entry: unit for unit in map(unit_of, launches)}.values())


def sources(cases: tuple[Case, ...]) -> list[Source]:
    """All of them, what is wanted first in front."""
    found = [_of_step(case, precision) for precision in PRECISIONS for case in cases]
    found += [_of_mode(*names) for names in MODE_CASES]
    return found + [_of_op(*names) for names in OP_CASES]


def _of_step(case: Case, precision: str) -> Source:
    def ops() -> Iterable[Op]:
        network = case.build()
        found = _ops(network, case.batch, precision, "arena", optimizer(case.lr))
        if precision not in REFERENCED:
            return found
        how = reference.optimizer()
        return [*found, *_ops(network, case.reference_batch, precision, "arena", how)]

    return Source(f"steps {case.name} {precision}", ops)


def _of_mode(name: str, precision: str, memory: str) -> Source:
    how = options(name)["optimizer"]
    return Source(
        f"modes {name} {precision} {memory}",
        lambda: _ops(NETWORKS[name](), BATCH, precision, memory, how),
    )


def _of_op(name: str, precision: str) -> Source:
    from tests.simulator.test_ops import IDS, TABLE

    case = dict(zip(IDS, TABLE, strict=True))[name][1]
    return Source(f"ops {name} {precision}", lambda: prepare_case(case, precision).ops)


def _ops(
    network: dl.Network, batch: int, precision: str, memory: str, how: dl.Optimizer
) -> list[Op]:
    """Of a step and of its `predict`."""
    plan = dl.plan(
        network,
        batch,
        device="cuda",
        precision=precision,
        memory=memory,
        optimizer=how,
        modes=False,
    )
    return [*plan.graph.ops, *_inference(network, plan).graph.ops]


def _inference(network: dl.Network, training: Plan) -> Plan:
    setting = training.setting
    dtype = "bfloat16" if setting.precision == "bf16" else "float32"
    target = Target(setting.batch, dtype, "cuda", precision=setting.precision)
    return make_plan(lower_inference(network, target, training.graph), setting)
