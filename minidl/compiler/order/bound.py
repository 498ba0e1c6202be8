"""What no order can go below, from what each op must follow alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from minidl.compiler.order.problem import Problem
from minidl.ir import Array, followers

AT_ONCE = 64
"""Ops that are looked at together, first; twice as many each time, up to `MOST_AT_ONCE`."""

MOST_AT_ONCE = 1024

EFFORT = 1 << 26
"""Ops asked, times ops of the graph: about ten seconds. Beyond that the bound is of those that were
asked: graphs of up to 8,192 ops are looked at whole."""

ROWS = 1024
"""Buffers whose bits are summed up together."""


def order_lower_bound(problem: Problem) -> int:
    """Bytes that every order of the ops needs at some op.

    While op v runs, a buffer is live in every order if a writer of it must have run by then (is v
    or an ancestor of v) and a user of it cannot have run before (is v or a descendant). The bound
    is the largest sum of such buffers, less what v itself may overwrite. No op needs more than it
    has in the order at hand, so the ops are asked from the highest down, as long as one may matter.
    """
    loads = problem.loads(range(len(problem.before)))
    highest = sorted(range(len(loads)), key=lambda v: -loads[v])
    highest = highest[: EFFORT // max(1, len(loads))]
    after, bound, start, many = followers(problem.before), problem.base, 0, AT_ONCE
    while start < len(highest) and loads[highest[start]] > bound:
        asked = highest[start : start + many]
        bound = max(bound, *_needed(problem, after, asked))
        start, many = start + many, min(2 * many, MOST_AT_ONCE)
    return bound


def _needed(problem: Problem, after: Sequence[Sequence[int]], asked: Sequence[int]) -> list[int]:
    """By op that is asked for, the bytes that every order needs while it runs."""
    every = (1 << len(asked)) - 1
    own = {v: 1 << k for k, v in enumerate(asked)}
    size = len(problem.before)
    soon = _spread(range(size - 1, -1, -1), after, own)  # those that must not run before the op
    late = _spread(range(size), problem.before, own)  # those that must not run after it
    live = []
    for b, users in enumerate(problem.users):
        begun = _union(soon, problem.writers[b]) if problem.begins[b] else every
        live.append(begun & _union(late, users) if problem.ends[b] else begun)
    load = problem.base + _sums(live, problem.sizes, len(asked))
    return [int(load[k]) - _overwritten(problem, late, v, own[v]) for k, v in enumerate(asked)]


def _spread(order: Iterable[int], edges: Sequence[Iterable[int]], own: dict[int, int]) -> list[int]:
    """By op, as bits, the ops of `own` that it is or leads to along `edges`."""
    found = [0] * len(edges)
    for v in order:
        found[v] = own.get(v, 0) | _union(found, edges[v])
    return found


def _union(bits: Sequence[int], of: Iterable[int]) -> int:
    found = 0
    for v in of:
        found |= bits[v]
    return found


def _sums(bits: Sequence[int], sizes: Sequence[int], count: int) -> Array:
    """By bit, the sizes of those that have it."""
    total = np.zeros(count, np.int64)
    used = [k for k, b in enumerate(bits) if b]
    length = -(-count // 8)
    for start in range(0, len(used), ROWS):
        some = used[start : start + ROWS]
        packed = b"".join(bits[k].to_bytes(length, "little") for k in some)
        rows = np.frombuffer(packed, np.uint8).reshape(len(some), length)
        held = np.unpackbits(rows, axis=1, count=count, bitorder="little")
        total += np.array([sizes[k] for k in some]) @ held.astype(np.int64)
    return total


def _overwritten(problem: Problem, late: Sequence[int], v: int, bit: int) -> int:
    """Most bytes that op v may write over what it reads: where no user must come after v."""

    def may_end(old: int) -> bool:
        return sum(late[u] & bit != 0 for u in problem.users[old]) <= 1  # v itself

    return sum(
        problem.sizes[new] for new in {n for n, old in problem.overwrites[v] if may_end(old)}
    )
