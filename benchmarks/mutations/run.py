"""All faults of a list, a line of JSON each as soon as it is known."""

from __future__ import annotations

import hashlib
import json
import queue
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.mutations.faults import Fault
from benchmarks.mutations.lists import FOLDERS, RefusedError, digest, read_list, read_results
from benchmarks.mutations.rows import chosen_tests
from benchmarks.mutations.trial import Limits, Tree, Trial

WITHOUT_FAULT = Limits(seconds=3600, cpu_seconds=1200)
"""Of one test file."""


@dataclass(frozen=True)
class Settings:
    jobs: int
    seconds: float
    """After which no new fault begins."""
    slow: bool
    """The tests that are marked slow, too."""


def run(root: Path, list_path: Path, out: Path, settings: Settings) -> int:
    """Go through the list; what `out` has already is not done again."""
    faults = read_list(list_path)
    results = _Results(out, _head(root, list_path, settings))
    end = time.monotonic() + settings.seconds
    trees = [Tree(root, slow=settings.slow) for _ in range(settings.jobs)]
    try:
        _without_fault(
            trees[0], {t for f in faults for t in chosen_tests(f.file, root)}, results, end
        )
        _with_faults(trees, faults, results, end)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on behind what {out} has", file=sys.stderr)
        return 130
    finally:
        for tree in trees:
            tree.remove()
    counts = Counter(row["outcome"] for row in results.faults.values())
    left = len(faults) - len(results.faults)
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.most_common()), f"({left} left)")
    return 0


def _head(root: Path, list_path: Path, settings: Settings) -> dict[str, Any]:
    """Of what the results are; `tree` is what counts, the commit is for people."""
    content = hashlib.sha256(list_path.read_bytes()).hexdigest()[:16]
    tree, commit = digest(root), _commit(root)
    return {"list": content, "tree": tree, "commit": commit, "slow": settings.slow}


def _commit(root: Path) -> str:
    """The last one that changed the product or its tests."""
    last = _git(root, "log", "-1", "--format=%H", "--", *FOLDERS)
    changed = " with changes" if _git(root, "status", "--porcelain", "--", *FOLDERS) else ""
    return f"{last}{changed}" or "unknown"


def _git(root: Path, *arguments: str) -> str:
    """What git says, nothing where there is no git or no repository."""
    try:
        done = subprocess.run(("git", "-C", str(root), *arguments), capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


class _Results:
    """A file of lines: the head, the test files without a fault, the faults."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._path = path
        self.faults: dict[int, dict[str, Any]] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._add(head)
            return
        there = read_results(path)
        for name in ("list", "tree", "slow"):
            if there.head[name] != head[name]:
                raise RefusedError(
                    f"{path} has results of {name} {there.head[name]}, not {head[name]}: "
                    "name another --out"
                )
        self.faults, self.tests = there.faults, there.tests
        there.cut()

    def add_tests(self, tests: str, trial: Trial) -> None:
        self.tests[tests] = {"tests": tests, **vars(trial)}
        self._add(self.tests[tests])

    def add_fault(self, number: int, fault: Fault, trial: Trial) -> None:
        self.faults[number] = {"fault": number, "what": str(fault), **vars(trial)}
        self._add(self.faults[number])

    def _add(self, row: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _without_fault(tree: Tree, needed: set[str], results: _Results, end: float) -> None:
    """Every test file by itself, green or refused: what it takes sets the limits of a fault."""
    missing = sorted(needed - results.tests.keys())
    for tests in tqdm(missing, desc="without a fault", unit="file", disable=not missing):
        if time.monotonic() > end:
            return
        trial = tree.run([tests], WITHOUT_FAULT)
        if trial.outcome != "survived":
            raise RefusedError(f"{tests} fails without a fault: {trial.by or trial.outcome}")
        results.add_tests(tests, trial)


def _with_faults(trees: list[Tree], faults: list[Fault], results: _Results, end: float) -> None:
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def one(fault: Fault) -> Trial | None:
        tests = chosen_tests(fault.file, trees[0].root)
        if time.monotonic() > end or not results.tests.keys() >= set(tests):
            return None
        tree = free.get()
        try:
            return tree.trial(fault, tests, _limits(results.tests[t] for t in tests))
        finally:
            free.put(tree)

    pool = ThreadPoolExecutor(len(trees))
    waiting: dict[Future[Trial | None], int] = {
        pool.submit(one, fault): n for n, fault in enumerate(faults) if n not in results.faults
    }
    bar = tqdm(total=len(faults), initial=len(results.faults), desc="faults", unit="fault")
    try:
        for future in as_completed(waiting):
            trial, number = future.result(), waiting[future]
            if trial is not None:
                results.add_fault(number, faults[number], trial)
                bar.update()
                tqdm.write(f"{number:3} {trial.outcome:9} {faults[number]}  {trial.by[:90]}")
    finally:
        for tree in trees:
            tree.stop()
        pool.shutdown(cancel_futures=True)
        bar.close()


def _limits(without: Iterable[dict[str, Any]]) -> Limits:
    """Three times what the tests take, and a minute for a crowded machine."""
    rows = list(without)
    seconds, cpu_seconds = (sum(row[name] for row in rows) for name in ("seconds", "cpu_seconds"))
    return Limits(seconds=3 * seconds + 60, cpu_seconds=3 * cpu_seconds + 60)
