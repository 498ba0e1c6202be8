"""The verifier of plan files: it knows the JSON and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from minidl.ir import PlanError
from minidl.placed.graph import PlacedGraph
from minidl.placed.verify.file import check_file
from tests.placed.corruptions import CORRUPTIONS, Corruption, lost_variable
from tests.placed.handmade import training_step
from tests.placed.test_verify import PLAN_FACTORIES

File = dict[str, Any]


def as_file(plan: PlacedGraph) -> File:
    """The plan file of docs/plan_file.md, by way of JSON text."""
    identity = {t: k for k, t in enumerate(plan.placements)}
    data = {
        "format": 1,
        "alignment": plan.options.alignment,
        "guard": plan.guard,
        "arena_bytes": plan.arena_bytes,
        "max_load_bytes": plan.max_load_bytes,
        "order_lower_bound_bytes": plan.max_load_bytes,
        "outputs": [identity.get(t, -1) for t in plan.graph.outputs],
        "tensors": [
            {
                "id": identity[t],
                "name": t.name,
                "kind": t.kind,
                "shape": t.shape,
                "dtype": t.dtype,
                "bytes": t.nbytes,
                "offset": p.offset,
                "first": p.first,
                "last": p.last,
                **({} if t.view_of is None else {"view_of": identity.get(t.view_of, -1)}),
            }
            for t, p in plan.placements.items()
        ],
        "ops": [
            {
                "index": i,
                "name": o.name,
                "layer": o.layer,
                "phase": o.phase,
                "reads": [identity.get(t, -1) for t in o.reads],
                "writes": [identity.get(t, -1) for t in o.writes],
                "in_place": [
                    [identity.get(o.writes[k], -1), identity.get(o.reads[j], -1)]
                    for k, j in o.in_place
                ],
                "flops": 0,
                "bytes_moved": 0,
            }
            for i, o in enumerate(plan.graph.ops)
        ],
    }
    return json.loads(json.dumps(data))


@pytest.mark.parametrize("factory", PLAN_FACTORIES)
def test_right_files_pass(factory: Callable[[], PlacedGraph]) -> None:
    data = as_file(factory())
    check_file(data)
    del data["outputs"]
    check_file(data)


@pytest.mark.parametrize("corruption", [c for c in CORRUPTIONS if c is not lost_variable])
@pytest.mark.parametrize("factory", PLAN_FACTORIES)
def test_corruptions_are_caught(factory: Callable[[], PlacedGraph], corruption: Corruption) -> None:
    """All but those of what a file does not say: which tensors the user fills."""
    plan = factory()
    for seed in range(3):
        wrong = corruption(plan, random.Random(seed))
        if wrong is not None:
            with pytest.raises(PlanError):
                check_file(as_file(wrong))


def concat(part_offset: int = 32, part_bytes: int = 16) -> File:
    """Two ops write the halves of a tensor that a third reads: views inside of it."""

    def entry(identity: str, nbytes: int, place: tuple[int, int, int], **more: Any) -> File:
        offset, first, last = place
        head = {"id": identity, "name": identity, "kind": "activation", "shape": [nbytes // 4]}
        place_ = {"bytes": nbytes, "offset": offset, "first": first, "last": last}
        return {**head, "dtype": "float32", **place_, **more}

    def step(index: int, writes: str, reads: str) -> File:
        lists = {"reads": [reads], "writes": [writes], "in_place": []}
        return {"index": index, "name": f"op{index}", "phase": "forward", **lists}

    return {
        "format": 1,
        "alignment": 16,
        "arena_bytes": 80,
        "max_load_bytes": 80,
        "order_lower_bound_bytes": 0,
        "tensors": [
            entry("x", 16, (0, 0, 2), kind="input"),
            entry("both", 32, (16, 0, 3)),
            entry("left", 16, (16, 0, 3), view_of="both"),
            entry("right", part_bytes, (part_offset, 0, 3), view_of="both"),
            entry("out", 32, (48, 0, 3)),
        ],
        "ops": [step(0, "left", "x"), step(1, "right", "x"), step(2, "out", "both")],
    }


def test_views_may_lie_inside() -> None:
    check_file(concat())


def test_a_gap_between_views_is_caught() -> None:
    message = r"op 2 'op2' reads .*'both' in bytes \[44, 48\), a part which no op before"
    with pytest.raises(PlanError, match=message):
        check_file(concat(part_bytes=12))


def test_a_view_outside_is_caught() -> None:
    with pytest.raises(PlanError, match=r"'right' covers bytes \[40, 56\), not within \[16, 48\)"):
        check_file(concat(part_offset=40))


CARD = {
    "name": "one",
    "architecture": "sm_80",
    "multiprocessors": 1,
    "memory_bytes": 8,
    "kept_bytes": 2,
}

MALFORMED: list[tuple[Callable[[File], object], str]] = [
    (lambda f: f.pop("tensors"), r"plan file: 'tensors' must be a list, got null"),
    (lambda f: f.update(format=3), r"format 3; this reads formats 1 and 2"),
    (lambda f: f.update(arena_bytes="144"), r"'arena_bytes' must be a whole number, got '144'"),
    (lambda f: f.update(guard=True), r"'guard' must be a whole number, got true"),
    (
        lambda f: f.update(placement_lower_bound_bytes=10**9),
        r"placement_lower_bound_bytes is 1000000000, more than arena_bytes, \d+",
    ),
    (lambda f: f.update(order_lower_bound_bytes=145), r"is 145, more than max_load_bytes, 144"),
    (lambda f: f.update(outputs=[99]), r"plan file: 'outputs' names tensor 99, which is not"),
    (lambda f: f.update(card=CARD, device=3), r"'device' must be a word, got 3"),
    (lambda f: f.update(card="h100", device="cuda"), r"'card' of a plan for 'cuda' is 'h100'"),
    (
        lambda f: f.update(card={**CARD, "name": 3}, device="cuda"),
        r"card: 'name' must be a word, got 3",
    ),
    (lambda f: f.update(card={**CARD, "kept_bytes": 9}, device="cuda"), r"keeps 9 of 8 bytes"),
    (lambda f: f["tensors"].append(3), r"'tensors'\[11\] must be an object, got 3"),
    (lambda f: f["tensors"][1].update(id=0), r"tensors\[1\] needs an id of its own, got 0"),
    (
        lambda f: f["tensors"][1].pop("id"),
        r"tensors\[1\]: 'id' must be a whole number or a word, got null",
    ),
    (lambda f: f["tensors"][3].update(bytes=31), r"'y': \[32\] uint8 has 32 bytes, not 31"),
    (lambda f: f["tensors"][3].update(dtype="float"), r"'y': .* 'float' is not known"),
    (lambda f: f["tensors"][3].update(dtype="banana32"), r"'y': .* 'banana32' is not known"),
    (
        lambda f: f["tensors"][3].update(offset=2**70),
        "must be a whole number, got a number of 71 bits",
    ),
    (lambda f: f["tensors"][3].update(box=[[0, 1]] * 2, view_of=0), "for each of . axes of a view"),
    (lambda f: f["ops"][1].update(in_place=3), r"'in_place' must be a list, got 3"),
    (lambda f: f["tensors"][3].update(view_of=3), r"'y' is a view of itself"),
    (lambda f: f["tensors"][3].update(view_of=[1]), r"view 'y' names tensor a list of 1"),
    (
        lambda f: f["tensors"][3].update(offset=64.0),
        r"'y': 'offset' must be a whole number, got 64.0",
    ),
    (lambda f: f["ops"][2].update(index=3), r"op 2 'loss.kernel': its index is 3"),
    (lambda f: f["ops"][2].update(phase="backward"), r"phase 'backward' is none of forward"),
    (lambda f: f["ops"][2].update(reads=[77]), r"op 2 .*'reads' names tensor 77"),
    (
        lambda f: f["ops"][1].update(in_place=[[3]]),
        r"op 1 .*'in_place'\[0\] must be a list of 2, got a list of 1",
    ),
    (lambda f: f["ops"][1].update(in_place=[[3, 4]]), r"\[3, 4\], which it does not write"),
]


@pytest.mark.parametrize(("change", "message"), MALFORMED)
def test_malformed_files_are_refused(change: Callable[[File], object], message: str) -> None:
    data = as_file(training_step())
    change(data)
    with pytest.raises(PlanError, match=message):
        check_file(data)
