"""What no order can go below, from what each op must follow alone."""

from __future__ import annotations

import numpy as np

from minidl.compiler.order.problem import Problem
from minidl.ir import Array


def order_lower_bound(problem: Problem) -> int:
    """Bytes that every order of the ops needs at some op.

    While op v runs, a buffer is live in every order if a writer of it must have run by then (is v
    or an ancestor of v) and a user of it cannot have run before (is v or a descendant). The bound
    is the largest sum of such buffers, less what v itself may overwrite.
    """
    count = len(problem.before)
    if not count:
        return problem.base
    before = _ancestors(problem)
    after = np.packbits(np.unpackbits(before, axis=1, count=count).T, axis=1)
    load = np.full(count, problem.base, np.int64)
    for b, size in enumerate(problem.sizes):
        live = np.full(before.shape[1], 255, np.uint8)
        if problem.begins[b]:
            live &= np.bitwise_or.reduce(after[problem.writers[b]], axis=0)
        if problem.ends[b]:
            live &= np.bitwise_or.reduce(before[problem.users[b]], axis=0)
        load[np.unpackbits(live, count=count).astype(bool)] += size
    return int(max(load[v] - _overwritten(problem, before, v) for v in range(count)))


def _ancestors(problem: Problem) -> Array:
    """Row v, a bit an op: v and all that must run before it."""
    count = len(problem.before)
    rows = np.packbits(np.eye(count, dtype=bool), axis=1)
    for v, js in enumerate(problem.before):
        if js:
            rows[v] |= np.bitwise_or.reduce(rows[list(js)], axis=0)
    return rows


def _overwritten(problem: Problem, before: Array, v: int) -> int:
    """Most bytes that op v may write over what it reads: where no user must come after v."""

    def may_end(old: int) -> bool:
        byte, bit = divmod(v, 8)
        later = (before[problem.users[old], byte] >> (7 - bit)) & 1
        return int(later.sum()) <= 1  # v itself

    return sum(
        problem.sizes[new] for new in {n for n, old in problem.overwrites[v] if may_end(old)}
    )
