"""Imports go down the floors of the house only; packages on one floor do not import each other."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minidl

PACKAGE = Path(minidl.__file__).parent
ROOT = PACKAGE.parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("minidl.ir", "minidl.checkout"),
    ("minidl.files",),
    ("minidl.philox", "minidl.cards", "minidl.options", "minidl.console", "minidl.roofline"),
    ("minidl.ops",),
    ("minidl.ops.cuda",),
    ("minidl.layers", "minidl.optim", "minidl.data", "minidl.keywords"),
    ("minidl.placed", "minidl.fitting"),
    ("minidl.compiler", "minidl.devices", "minidl.report"),
    ("minidl.recipe",),
    ("minidl.runtime",),
    ("minidl.front",),
    ("minidl", "minidl.interop", "minidl.train"),
    ("minidl.predict",),
    ("minidl.cli", "minidl.__main__", "minidl.starting"),
)
"""From the bottom up."""

TOGETHER = (len(FLOORS) - 3, len(FLOORS) - 1)
"""Floors whose rooms are one: what people touch, the command line."""


def modules(folder: Path, package: str) -> Iterator[tuple[str, Path]]:
    """Every module below a folder, by its dotted name."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        yield ".".join((package, *parts)), path


MODULES = dict(modules(PACKAGE, "minidl"))


def imports(name: str, path: Path) -> set[str]:
    """The modules that a module imports, as far down as a name in `from ... import` is one."""
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join((*above, base)).rstrip(".")
            names = {f"{base}.{alias.name}" for alias in node.names}
            inner = {n for n in names if n in MODULES}
            found |= inner if inner == names else inner | {base}
    return found


def room(name: str) -> str:
    """The floor's entry that a module of minidl belongs to."""
    rooms = [r for floor in FLOORS for r in floor if r != "minidl"]
    inside = [r for r in rooms if name == r or name.startswith(r + ".")]
    return max(inside, key=len, default="minidl")


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(name) in rooms)


def test_every_module_has_a_floor() -> None:
    assert {n for n in MODULES if room(n) == "minidl"} == {"minidl"}
    missing = {r for rooms in FLOORS for r in rooms if r not in MODULES}
    assert not missing


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name: str) -> None:
    for other in imports(name, MODULES[name]):
        if other == "minidl" or other.startswith("minidl."):
            same = room(other) == room(name)
            down = floor(other) < floor(name)
            beside = floor(other) == floor(name) and floor(name) in TOGETHER
            assert same or down or beside, f"{name} imports {other}"


def rings(graph: dict[str, set[str]]) -> list[set[str]]:
    """Modules that import each other, directly or not: strongly connected sets (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in graph[name]:
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            ring = set()
            while name not in ring:
                ring.add(stack.pop())
            found.append(ring)

    for name in graph:
        if name not in number:
            visit(name)
    return [ring for ring in found if len(ring) > 1]


def test_rings_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert rings(graph) == [{"b", "c"}]


def test_no_modules_import_each_other() -> None:
    """Imports inside of functions and those for types alone count too."""
    graph = {name: imports(name, path) & MODULES.keys() for name, path in MODULES.items()}
    assert rings(graph) == []


def test_the_vocabulary_imports_nothing_else_of_minidl() -> None:
    for name, path in MODULES.items():
        if room(name) in FLOORS[0]:
            of_minidl = [m for m in imports(name, path) if m.split(".")[0] == "minidl"]
            assert all(room(m) == room(name) for m in of_minidl), name


def test_the_passes_know_no_layer_no_optimizer_and_no_device() -> None:
    known = {
        room(other)
        for name, path in MODULES.items()
        if room(name) == "minidl.compiler"
        for other in imports(name, path)
        if other.startswith("minidl.")
    }
    below = {"minidl.placed", "minidl.options", "minidl.ir", "minidl.ops"}
    assert known <= {"minidl.compiler", *below}


def test_the_verifier_shares_no_code_with_the_planner() -> None:
    for name, path in MODULES.items():
        if name.startswith("minidl.placed"):
            own = {room(m) for m in imports(name, path) if m.startswith("minidl.")}
            assert own <= {"minidl.placed", "minidl.ir", "minidl.options", "minidl.files"}, name


OWN = {"minidl", "numpy"}
PEOPLE = {"tqdm", "tomli", "tomllib"}
"""What only the top floors import: a bar for people to watch, files for them to write. tomllib is
Python's own from 3.11 on, tomli the same before."""


BY_EXTRAS = {
    "minidl.data.decode": {"PIL"},
    "minidl.front": {"typing_extensions"},  # for types alone
    "minidl.report.png": {"matplotlib"},
    "minidl.devices.cuda": {"cupy"},
    "minidl.devices.nvrtc": {"cuda"},
    "minidl.interop.onnx_proto": {"onnx"},
    "minidl.train.png": {"matplotlib"},
    "minidl.train.tensorboard": {"tensorboardX"},
}
"""What one module imports where an extra is installed."""


@pytest.mark.parametrize("name", MODULES)
def test_what_is_imported_from_outside(name: str) -> None:
    """NumPy and little else; CuPy in one place."""
    outside = (
        {m.split(".")[0] for m in imports(name, MODULES[name])} - sys.stdlib_module_names - OWN
    )
    outside -= BY_EXTRAS.get(name, set())
    assert outside <= (PEOPLE if floor(name) >= len(FLOORS) - 3 else set())


MODELS = dict(modules(ROOT / "models", "models"))


@pytest.mark.skipif(not MODELS, reason="no checkout: models are inside of the package")
@pytest.mark.parametrize("name", MODELS)
def test_models_use_public_names_only(name: str) -> None:
    path = MODELS[name]
    inner = {m for m in imports(name, path) if m.split(".")[0] == "minidl"}
    assert inner <= {"minidl"}, inner
    used = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "dl"
    }
    assert used <= set(minidl.__all__)
