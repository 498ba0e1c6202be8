"""The kernels that the other phases will run, by what needs them."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.gpu.compiling import Source, compile_all
from benchmarks.gpu.first_contact import reference
from benchmarks.gpu.first_contact.correctness import MODE_CASES, OP_CASES
from benchmarks.gpu.names import PRECISIONS, REFERENCED
from benchmarks.gpu.network import Case, optimizer
from benchmarks.gpu.sources import step_ops
from benchmarks.gpu.worker import Worker
from minidl.ir import Op
from minidl.ir.card import Card
from tests.simulator.bench import prepare_case
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, options


def compile_kernels(worker: Worker) -> None:
    compile_all(worker, sources(worker.machine.CASES, worker.device.card))


def sources(cases: tuple[Case, ...], card: Card) -> list[Source]:
    """All of them for a card, what is wanted first in front."""
    found = [_of_step(case, precision, card) for precision in PRECISIONS for case in cases]
    found += [_of_mode(*names, card) for names in MODE_CASES]
    return found + [_of_op(*names, card) for names in OP_CASES]


def _of_step(case: Case, precision: str, card: Card) -> Source:
    def ops() -> Iterable[Op]:
        network = case.build()
        found = step_ops(network, case.batch, precision, "arena", optimizer(case.lr), card)
        if precision not in REFERENCED:
            return found
        how = reference.optimizer()
        return [*found, *step_ops(network, case.reference_batch, precision, "arena", how, card)]

    return Source(f"steps {case.name} {precision}", ops)


def _of_mode(name: str, precision: str, memory: str, card: Card) -> Source:
    how = options(name)["optimizer"]
    return Source(
        f"modes {name} {precision} {memory}",
        lambda: step_ops(NETWORKS[name](), BATCH, precision, memory, how, card),
    )


def _of_op(name: str, precision: str, card: Card) -> Source:
    from tests.simulator.test_ops import IDS, TABLE

    case = dict(zip(IDS, TABLE, strict=True))[name][1]
    return Source(f"ops {name} {precision}", lambda: prepare_case(case, precision, card=card).ops)
