"""docs/performance.md from rows: several cards side by side, the newest of each; and earlier rows
that need not be run again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import commands, report
from benchmarks.gpu.environment import NO_GPU
from benchmarks.gpu.rows import ROWS, Row, Tail, note, with_facts
from benchmarks.gpu.train import PHASES
from benchmarks.gpu.worker import Settings, Worker

CARDS = {
    "h100": {
        "card": "NVIDIA H100 80GB HBM3",
        "driver": "580.1",
        "NVRTC": "13.2",
        "commit": "a" * 40,
    },
    "3060": {
        "card": "NVIDIA GeForce RTX 3060",
        "driver": "570.2",
        "NVRTC": "12.9",
        "commit": "b" * 40,
    },
}
TRAIN = "benchmarks.gpu.train"
ROW = {
    "step": {"ms": 10.0, "naive_ms": 11.0, "arena_mib": 512.0, "naive_mib": 900.0},
    "beside eager": {"ms": 10.0, "engine_ms": 15.0, "engine_peak_mib": 1024.0},
}


def wrote(folder: Path, facts: Row, date: str, part: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    place = {"part": part, "phase": "environment", "worker": 0, "result": "passed"}
    note(folder, {**place, "case": "machine", "facts": {"date": date, "commit": facts["commit"]}})
    note(folder, {**place, "case": "device", "facts": facts})
    for row in rows:
        note(folder, {"part": part, "phase": "steps", "worker": 0, "result": "passed", **row})


def model(bound: str, constant: str, value: float, ms: float) -> Row:
    """What the model of time said of an op, in its row."""
    row = {"predicted_ms": ms, "predicted_bound": bound, "launch_ms": 0.1, "cached": False}
    return {**row, "constant": constant, "constant_value": value}


def steps(factor: float) -> list[Row]:
    found: list[Row] = []
    for end, values in ROW.items():
        found.append({"case": f"vgg16 b64 bf16 {end}", **values})
        found[-1]["ms"] = factor * 10
    return found


def test_cards_stand_side_by_side(tmp_path: Path) -> None:
    wrote(tmp_path / "h100" / "2026-01-01", CARDS["h100"], "2026-01-01", TRAIN, steps(9))
    newest = steps(1)
    newest[0]["predicted_ms"] = 9.5
    wrote(tmp_path / "h100" / "2026-02-01", CARDS["h100"], "2026-02-01", TRAIN, newest)
    wrong = {"case": "vgg16 b64 tf32 step", "result": "wrong", "why": "the loss | does not fall"}
    wrote(tmp_path / "2026-03-01", CARDS["3060"], "2026-03-01", TRAIN, [*steps(2), wrong])
    stand_in: dict[str, Any] = CARDS["h100"] | {"card": NO_GPU}
    wrote(tmp_path / "none", stand_in, "2026-04-01", TRAIN, steps(123))
    page = report.page(tmp_path)
    lines = [line for line in page.splitlines() if line.startswith("| vgg16 b64 bf16")]
    assert lines == [
        "| vgg16 b64 bf16 | - | 20 | 11 | 15 | - | - | 0.75 | 512 | 1,024 "
        "| NVIDIA GeForce RTX 3060 | bbbbbbbbbb | 570.2 | 12.9 |",
        "| vgg16 b64 bf16 | 9.5 | 10 | 11 | 15 | - | - | 1.5 | 512 | 1,024 "
        "| NVIDIA H100 80GB HBM3 | aaaaaaaaaa | 580.1 | 13.2 |",
        "| vgg16 b64 bf16 step | 1 | 9.5 | 10 | 1.05 "
        "| NVIDIA H100 80GB HBM3 | aaaaaaaaaa | 580.1 | 13.2 |",
    ]
    assert "Faults, 1:" in page
    assert "the loss / does not fall" in page
    assert NO_GPU not in page
    assert page.count(report.MISSING) == 5


def test_every_table_is_made(tmp_path: Path) -> None:
    """Of rows as the parts write them on the stand-in, said to be of a card."""
    rows = {
        "kernels": [
            {"case": "n b3 bf16 op 3", "op": "op 3", "ms": 2.0, "floor_ms": 1.0, "flops": 4e9,
             "bytes": 8e6, "engine_ms": 3.0, **model("DRAM", "share_of_16 in a", 0.8, 1.7)},
            {"case": "n b3 bf16 op 3 float64", "op": "op 3", "error": 1e-3},
        ],
        "memory": [
            {"case": "n b3 bf16 arena", "predicted": 2**20, "arena": 2**20, "device_says": 2**21,
             "during_steps": 0},
            {"case": "n b3 bf16 peak of PyTorch", "engine_peak": 2**22},
            {"case": "n b3 bf16 largest batch", "largest": 57, "limit": 2**30},
            {"case": "n b3 bf16 largest batch of PyTorch", "engine_largest": 43, "limit": 2**30},
        ],
        "tune": [
            {"case": "bf16 m1", "model": ["bf16 a", 1], "best": ["bf16 b", 2], "ms": 1.0,
             "model_ms": 1.5},
        ],
        "cifar10": [
            {"case": "arena as naive", "steps": 50, "step_ms": 1.0},
            {"case": "epoch 7", "epoch": 7, "planned": 9, "top1": 0.9123, "s": 70.0,
             "images_per_s": 9000.0},
        ],
        "first-contact": [{"case": "relu bf16", "phase": "ops"}],
    }  # fmt: skip
    for part, of in rows.items():
        module = commands.PARTS[part][0]
        wrote(tmp_path / part, CARDS["h100"], "2026-01-01", module, of)
    page = report.page(tmp_path)
    where = "| NVIDIA H100 80GB HBM3 | aaaaaaaaaa | 580.1 | 13.2 |"
    for line in (
        f"| n b3 bf16 | 1 | 2 | 1 | 1 | 2 | 3 | 1.5 | 0.001 {where}",
        f"| n b3 bf16 op 3 | 2 | 1.7 | 1 | 3 | 2 | 4 {where}",
        f"| n b3 bf16 | 1 | 1.7 | 2 | 1.18 {where}",
        f"| share_of_16 in a | 0.8 | 0.674 | 1 | 1.19 | too few ops {where}",
        f"| n b3 bf16 | 1.0 | 1.0 | 2.0 | 0 | 4.0 | 4 | 57 | 43 | 1 {where}",
        f"| 1 | 0 | 1.5 | 1.5 {where}",
        f"| 7 of 9 | 91.23 % | 70 | 9,000 | 50 losses {where}",
        f"| ops | 1 | 0 | 0 {where}",
    ):
        assert line in page
    assert page.count(report.MISSING) == 1


def test_the_page_is_of_the_newest_results() -> None:
    assert report.PAGE.read_text(encoding="utf-8") == report.page()


@pytest.mark.parametrize("change", [{}, {"card": "another"}, {"commit": "c" * 40}])
def test_what_passed_earlier_is_not_run_again(tmp_path: Path, change: Row) -> None:
    """On the same card, commit, driver and NVRTC; anything else is."""
    earlier, now = tmp_path / "earlier", tmp_path / "now"
    failed = {"case": "other", "result": "failed"}
    wrote(earlier, CARDS["h100"], "2026-01-01", TRAIN, [*steps(1), failed])
    wrote(now, CARDS["h100"] | change, "2026-01-02", TRAIN, [])
    settings = Settings(part=TRAIN, out=str(now), earlier=str(earlier))
    worker = Worker(settings, PHASES[-1], 0, 1, time.time() + 60)
    ran: list[str] = []
    for name in ("vgg16 b64 bf16 step", "other"):
        worker.run(name, lambda name=name: ran.append(name))  # type: ignore[misc]
    assert ran == (["vgg16 b64 bf16 step"] if change else []) + ["other"]
    last = list(with_facts(Tail(now / ROWS).new()))
    assert [row["case"] for row in last if row["phase"] == "steps"][-1] == "other"
    taken = [row for row in last if row.get("earlier")]
    assert len(taken) == (0 if change else 1)
    assert all(row["ms"] == 10 and row["facts"]["card"] for row in taken)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    worker = Worker(Settings(part=TRAIN, out=str(tmp_path)), PHASES[-1], 0, 1, time.time() + 60)
    with pytest.raises(ValueError, match="two cases have the name 'a'"):
        worker.mine(["a", "b", "a"], str)


def test_parts_share_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one leaves is the next one's."""
    seconds: dict[str, float] = {}

    def run_part(settings: Settings, limit: float, cores: int) -> int:
        seconds[settings.part.rpartition(".")[2]] = limit
        return 1 if settings.part == TRAIN else 0

    monkeypatch.setattr(commands, "run_part", run_part)
    status = commands.main(
        ["train", "kernels", "memory", "--seconds", "690", "--out", str(tmp_path)]
    )
    assert status == 1
    assert [round(value) for value in seconds.values()] == [300, 425, 690]
    assert list(seconds) == ["train", "kernels", "memory"]
