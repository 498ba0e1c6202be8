"""Lists of faults and of what came of them, as JSON."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.mutations.faults import KINDS, Fault, faults_in, with_fault

GROUPS: dict[str, tuple[str, ...]] = {
    "layers": ("minidl/layers/*.py", "minidl/ops/*.py"),
    "passes": ("minidl/compiler/**/*.py", "minidl/placed/**/*.py"),
    "readers": ("minidl/files/*.py", "minidl/interop/**/*.py", "minidl/data/**/*.py"),
}
"""Files by patterns. Launches are left out: the simulator's tests find what is wrong with them."""

FOUND = ("killed", "timed out")
"""Outcomes of a fault that the tests found."""

FOLDERS = ("minidl", "models", "tests")
"""The product and its tests."""


class RefusedError(Exception):
    """There is nothing to run or to compare, and why."""


def drawn(root: Path, seed: int, counts: Mapping[str, int]) -> list[Fault]:
    """So many faults of each group, every kind as likely, no two at one place."""
    chance = random.Random(seed)
    return [f for group, count in counts.items() for f in _drawn(root, chance, group, count)]


def _drawn(root: Path, chance: random.Random, group: str, count: int) -> list[Fault]:
    texts = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for pattern in GROUPS[group]
        for path in sorted(root.glob(pattern))
    }
    by_kind: dict[str, list[Fault]] = defaultdict(list)
    for file, text in texts.items():
        for fault in faults_in(file, text):
            by_kind[fault.kind].append(fault)
    found: dict[tuple[str, int, int], Fault] = {}
    while len(found) < count:
        fault = chance.choice(by_kind[chance.choice([kind for kind in KINDS if by_kind[kind]])])
        if _parses(with_fault(texts[fault.file], fault)):
            found.setdefault((fault.file, fault.line, fault.column), fault)
    return sorted(found.values(), key=lambda f: (f.file, f.line, f.column))


def _parses(text: str | None) -> bool:
    try:
        ast.parse(text or "(")
    except SyntaxError:
        return False
    return True


def write_list(path: Path, seed: int, faults: list[Fault]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"seed": seed, "faults": [asdict(fault) for fault in faults]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_list(path: Path) -> list[Fault]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Fault(**fault) for fault in content["faults"]]


def digest(root: Path) -> str:
    """Of the product and its tests: results of two trees must not end up in one file."""
    content = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            content.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]


@dataclass(frozen=True)
class Results:
    """A file of results: of what they are, and the faults by number."""

    path: Path
    head: dict[str, Any]
    faults: dict[int, dict[str, Any]]
    whole: int
    """Bytes of whole lines: the last may have been cut off."""

    def cut(self) -> None:
        """Leave whole lines only, so that one can go on behind them."""
        os.truncate(self.path, self.whole)

    def found(self) -> set[int]:
        """Numbers of the faults that the tests found."""
        return {n for n, row in self.faults.items() if row["outcome"] in FOUND}

    def killers(self) -> dict[int, str]:
        """The test that found a fault, by the fault's number."""
        return {n: row["test"] for n, row in self.faults.items() if row["test"]}


def read_results(path: Path) -> Results:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if not whole:
        raise RefusedError(f"{path} has no results")
    head, *rows = map(json.loads, content[:whole].splitlines())
    return Results(path, head, {row["fault"]: row for row in rows}, whole)
