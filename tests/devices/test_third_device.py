"""One folder makes a device: nothing else compares the name of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.cli import main
from minidl.compiler.modes import MODES
from minidl.devices.known import DEVICES, add_device
from minidl.placed.verify.file import check_file
from tests.devices.counting import COUNTING, CountingDevice
from tests.training import random_batches, train

PACKAGE = Path(dl.__file__).parent
OWN = ("devices", "ops")
"""Folders that are of devices."""


@pytest.fixture(autouse=True)
def _third() -> Iterator[None]:
    add_device(COUNTING)
    yield
    del DEVICES[COUNTING.name]


def network() -> dl.Network:
    x = y = dl.Input((8, 8, 3))
    y = dl.MaxPool2d(2)(dl.ReLU()(dl.Conv2d(8, 3, padding=1)(y)))
    y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(8, 3, padding=1, bias=False)(y)))
    return dl.Network(x, dl.Linear(10)(dl.Dropout(0.5)(dl.Flatten()(y))))


@pytest.mark.parametrize("memory", MODES)
def test_it_trains_to_the_bits_of_numpy_in_every_mode(memory: str) -> None:
    data = random_batches(np.random.default_rng(0), 4, (8, 8, 3), 10)
    expected = train(network(), data, memory)
    assert train(network(), data, memory, device="counting") == expected


def test_it_runs_each_op_of_its_own_plan() -> None:
    device = CountingDevice()
    step = dl.compile(network(), 4, device=device)
    ((images, labels),) = random_batches(np.random.default_rng(0), 4, (8, 8, 3), 10)[:1]
    for _ in range(3):
        step(images, labels)
    phases = [op.phase for op in step.plan.graph.ops]
    assert device.ran == {phase: 3 * phases.count(phase) for phase in phases}


def test_plans_are_made_for_what_its_kernels_take_in() -> None:
    """NumPy's max-pool takes the activation behind it in, this one does not."""
    kernels = {
        name: {op.kernel for op in dl.plan(network(), 4, device=name).graph.ops}
        for name in ("cpu", "counting")
    }
    assert "maxpool2d_forward+relu_forward" in kernels["cpu"] - kernels["counting"]
    check_file(dl.plan(network(), 4, device="counting").to_dict())


def test_the_commands_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "lenet", "-b", "4", "--device", "counting"]) == 0
    assert "lenet" in capsys.readouterr().out
    assert main(["plan", "--model", "lenet", "--device", "counting", "--precision", "bf16"]) == 2
    assert "counting has no --precision bf16" in capsys.readouterr().err


def test_errors_name_it() -> None:
    with pytest.raises(dl.ArgumentError, match="cpu or cuda or counting"):
        dl.plan(network(), 4, device="abacus")
    with pytest.raises(dl.ArgumentError, match="there is a device 'counting' already"):
        add_device(COUNTING)


def compared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and value of each word that something is compared with, or looked up by."""
    for node in ast.walk(tree):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.Dict):
            asked = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        for expression in asked:
            for part in ast.walk(expression):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


OUTSIDE = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in OWN]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_asks_for_a_device_by_name(path: Path) -> None:
    names = {name for name in DEVICES if name != COUNTING.name}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [found for found in compared(tree) if found[1] in names] == []


@pytest.mark.parametrize(
    "source",
    [
        "if device == 'cuda': pass",
        "x = 1 if 'cpu' != name else 2",
        "name in ('cpu', 'cuda')",
        "{'cpu': 1}[name]",
        "table['cuda']",
        "match name:\n    case 'cuda': pass",
    ],
)
def test_a_question_is_seen(source: str) -> None:
    assert {value for _, value in compared(ast.parse(source))} & {"cpu", "cuda"}
