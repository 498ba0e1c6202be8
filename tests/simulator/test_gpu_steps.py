"""The parts `train`, `memory` and `cifar10` on the stand-in: right and cut off."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.gpu import cifar10, stand_in
from benchmarks.gpu.commands import PARTS
from benchmarks.gpu.rows import ROWS, Tail, note
from benchmarks.gpu.worker import Settings, Worker
from tests.simulator.build import COMPILER
from tests.simulator.gpu_parts import (
    InProcess,
    images,
    in_process,
    results,
)

__all__ = ["in_process"]
pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
VGG = "vgg_shaped b3 float32"


def test_training_steps_are_timed_until_time_is_over(in_process: InProcess) -> None:
    found = in_process("train", "steps", f"steps {VGG}", cases=3)
    assert results(found) == {
        f"{VGG} step": "passed",
        f"{VGG} beside eager": "passed",
        f"{VGG} beside compiled": "passed",
        f"{VGG} beside reduce-overhead": "left out",
    }
    rows = {row["case"]: row for row in found.rows if "case" in row}
    step, eager = rows[f"{VGG} step"], rows[f"{VGG} beside eager"]
    assert step["loss_later"] < step["loss"]
    assert 0 < step["arena_mib"] < step["naive_mib"]
    assert step["predicted_ms"] > 0
    assert eager["engine_ms"] == 3.0
    assert eager["engine_peak_mib"] == 3 / 64
    assert "kept_mib" in eager
    assert found.table.count(VGG) == 2  # its line, and what is left out
    assert found.listed("FAULTS") == []
    assert "steps: 3 passed, 1 left out of 4" in found.table


def test_bytes_are_as_predicted_until_time_is_over(in_process: InProcess) -> None:
    found = in_process("memory", "memory", f"memory {VGG}", cases=3)
    assert list(results(found).values()) == ["passed", "passed", "passed", "left out"]
    rows = {row["case"]: row for row in found.rows if "case" in row}
    arena, largest = rows[f"{VGG} arena"], rows[f"{VGG} largest batch"]
    assert arena["arena"] == arena["predicted"] > 0
    assert arena["during_steps"] == 0
    assert largest["largest"] > 3
    assert largest["took"] <= largest["limit"] == stand_in.LIMIT
    assert str(largest["largest"]) in found.table
    assert found.listed("FAULTS") == []


def test_training_on_cifar10_says_each_epoch(in_process: InProcess) -> None:
    found = in_process("cifar10", "cifar10", "", data=images(in_process.out))
    assert results(found) == dict.fromkeys(
        ["images", "arena as naive", "epoch 1", "epoch 2", "training"], "passed"
    )
    last = next(row for row in found.rows if row.get("case") == "training")
    assert (last["epochs"], last["batch"]) == (2, 4)
    assert 0 <= last["top1"] <= 1
    assert "1 of 2" in found.table
    assert "ARENA AS NAIVE 2 losses" in found.table
    cut = in_process("cifar10", "cifar10", "", cases=2, data=images(in_process.out))
    assert results(cut)["training"] == "left out"
    without = in_process("cifar10", "cifar10", "")
    assert without.listed("LEFT OUT") == ["cifar10: images: left out"]


def test_without_images_nothing_is_trained(tmp_path: Path) -> None:
    part = PARTS["cifar10"][0]
    note(tmp_path, {"phase": "cifar10", "worker": 0, "case": "images", "result": "hung"})
    settings = Settings(part, str(tmp_path), "benchmarks.gpu.stand_in", data="a disk that hangs")
    cifar10.cifar10(Worker(settings, cifar10.PHASES[-1], 0, 1, time.time() + 60))
    assert [row["case"] for row in Tail(tmp_path / ROWS).new()] == ["images"]


def test_memory_of_a_case_before_is_a_fault(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.gpu.resident.HELD_MIB", -1)
    found = in_process("memory", "memory", f"memory {VGG} peak")
    assert results(found) == {f"{VGG} peak of PyTorch": "wrong"}
    assert "of the cases before are still held" in found.table
