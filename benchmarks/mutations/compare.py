"""What the tests found before and no longer find."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mutations.lists import FOUND, RefusedError, read_results


def compare(before: Path, after: Path) -> int:
    """Print the differences of two results; 1 where a fault is no longer found or not tried."""
    earlier, later = read_results(before), read_results(after)
    if earlier.head["list"] != later.head["list"]:
        raise RefusedError(f"{before} and {after} are of different lists of faults")
    old, new = earlier.faults, later.faults
    worse = [n for n in sorted(old) if _found(old[n]) and n in new and _survives(new[n])]
    better = [n for n in sorted(old) if _survives(old[n]) and n in new and _found(new[n])]
    gone = [n for n in sorted(new) if new[n]["outcome"] == "gone"]
    red = [n for n in sorted(new) if new[n]["outcome"] == "red"]
    untried = [n for n in sorted(old) if _found(old[n]) and n not in new]
    for title, numbers in (
        ("killed before, survive now", worse),
        ("survived before, killed now", better),
        ("their statement is no longer there", gone),
        ("their test fails without the fault as well", red),
        ("killed before, not tried", untried),
    ):
        print(f"{title}: {len(numbers)}")
        for n in numbers:
            row = new.get(n, old[n]) if n in old else new[n]
            print(f"  {n}  {row['what']}")
            if n in worse:
                print(f"      by {old[n]['test']}")
    return 1 if worse or red or untried else 0


def _found(row: dict[str, object]) -> bool:
    return row["outcome"] in FOUND


def _survives(row: dict[str, object]) -> bool:
    return row["outcome"] == "survived"
