"""All faults of a list, a line of JSON each as soon as it is known."""

from __future__ import annotations

import hashlib
import json
import queue
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from benchmarks.mutations.faults import Fault
from benchmarks.mutations.lists import FOLDERS, RefusedError, digest, read_list, read_results
from benchmarks.mutations.rows import chosen_tests
from benchmarks.mutations.trial import Limits, Tree, Trial

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Settings:
    jobs: int
    seconds: float
    """After which no new fault begins."""
    limit: float
    """Seconds of one fault, on the clock and of a core."""
    slow: bool
    """The tests that are marked slow, too."""
    known: Path | None = None
    """Results of the same list: the test that found a fault there comes first."""
    found: bool = False
    """Only the faults that were found there."""


def run(root: Path, list_path: Path, out: Path, settings: Settings) -> int:
    """Go through the list; what `out` has already is not done again."""
    faults = read_list(list_path)
    results = _Results(out, _head(root, list_path, settings))
    trees = [Tree(root, slow=settings.slow) for _ in range(settings.jobs)]
    try:
        _go_through(trees, faults, results, settings)
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
    """A file of lines: the head, then a fault each."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._path = path
        self.faults: dict[int, dict[str, Any]] = {}
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
        self.faults = there.faults
        there.cut()

    def add(self, number: int, fault: Fault, trial: Trial) -> None:
        self.faults[number] = {"fault": number, "what": str(fault), **vars(trial)}
        self._add(self.faults[number])

    def _add(self, row: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _go_through(
    trees: list[Tree],
    faults: list[Fault],
    results: _Results,
    settings: Settings,
) -> None:
    known = read_results(settings.known) if settings.known else None
    killers = known.killers() if known else {}
    chosen = known.found() if known and settings.found else set(range(len(faults)))
    limits = Limits(settings.limit, settings.limit)
    work = {}
    for n, fault in enumerate(faults):
        if n in chosen - results.faults.keys():
            tests = chosen_tests(fault.file, trees[0].root)
            work[n] = partial(
                Tree.trial, fault=fault, known=killers.get(n, ""), tests=tests, limits=limits
            )
    end = time.monotonic() + settings.seconds
    with tqdm(total=len(faults), initial=len(results.faults), unit="fault") as bar:
        for n, trial in _each(trees, work, end):
            results.add(n, faults[n], trial)
            bar.update()
            tqdm.write(f"{n:3} {trial.outcome:9} {faults[n]}  {trial.test or trial.by}")


def _each(
    trees: list[Tree], work: Mapping[Key, Callable[[Tree], Trial]], end: float
) -> Iterator[tuple[Key, Trial]]:
    """What came of each, as soon as it is known; after `end` none begins."""
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def one(task: Callable[[Tree], Trial]) -> Trial | None:
        if time.monotonic() > end:
            return None
        tree = free.get()
        try:
            return task(tree)
        finally:
            free.put(tree)

    pool = ThreadPoolExecutor(len(trees))
    waiting = {pool.submit(one, task): key for key, task in work.items()}
    done = False
    try:
        for future in as_completed(waiting):
            trial = future.result()
            if trial is not None:
                yield waiting[future], trial
        done = True
    finally:
        for tree in () if done else trees:
            tree.stop()
        pool.shutdown(cancel_futures=True)
