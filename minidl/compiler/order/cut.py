"""The least that can be live while one op runs, over all that may have run by then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from minidl.compiler.order.flow import SINK, SOURCE, Flow
from minidl.compiler.order.problem import Problem

BEFORE, FREE, AFTER = 1, 0, 2
"""Where an op runs, seen from the one in question."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The ops that should have run before one op, so that the least is live while it runs."""

    least: int
    """Bytes of the buffers that were counted: in any order, if no op was held where it was."""
    late: set[int]
    """The free ops that should have run, where those are as few as can be."""
    soon: set[int]
    """The same, where they are as many."""
    steps: int


def least_cut(
    problem: Problem,
    op: int,
    free: list[int],
    side: Callable[[int], int],
    buffers: Iterable[int],
) -> Cut:
    """What should have run before `op`: ops that `side` says are before it, and which of `free`?

    A buffer is live once one of its users has run and until all have, which is a submodular
    function of the set that has run. Its least over the sets that hold with each op all that this
    must follow is a minimum cut (Picard 1976): a node for each free op, one for a buffer's
    beginning and one for its end. What `op` may overwrite is counted as if of several pairs with
    one new buffer each could be had, so that `least` is never too much.
    """
    flow = Flow()
    node = {u: flow.node() for u in free}
    for u, n in node.items():
        for j in problem.before[u]:
            if j in node:
                flow.edge(n, node[j])
    own, least = set(problem.touches[op]), 0
    for b in buffers:
        nodes, sides = [], set()
        for u in problem.users[b]:
            if u in node:
                nodes.append(node[u])
            else:
                sides.add(AFTER if u == op else side(u))
        begun = not problem.begins[b] or b in own or BEFORE in sides
        stays = not problem.ends[b] or AFTER in sides
        if begun and stays:
            least += problem.sizes[b]
        elif nodes:
            begin = SOURCE if begun else flow.node()
            end = SINK if stays else flow.node()
            flow.edge(begin, end, problem.sizes[b])
            for n in nodes:
                if not begun:
                    flow.edge(n, begin)
                if not stays:
                    flow.edge(end, n)
    least -= _overwritten(problem, op, node, side, flow)
    least += flow.run()
    reached, reaching = flow.from_source(), flow.to_sink()
    late = {u for u, n in node.items() if reached[n]}
    soon = {u for u, n in node.items() if not reaching[n]}
    return Cut(least, late, soon, flow.steps + len(free))


def _overwritten(
    problem: Problem, op: int, node: dict[int, int], side: Callable[[int], int], flow: Flow
) -> int:
    """Most bytes that `op` may write over what it reads; what takes that away becomes an edge."""
    waiting: dict[int, list[list[int]]] = {}
    for new, old in problem.overwrites[op]:
        others = [u for u in problem.users[old] if u != op]
        if problem.ends[old] and all(u in node or side(u) == BEFORE for u in others):
            waiting.setdefault(new, []).append([node[u] for u in others if u in node])
    for new, choices in waiting.items():
        if len(choices) == 1 and choices[0]:
            end = flow.node()
            flow.edge(SOURCE, end, problem.sizes[new])
            for n in choices[0]:
                flow.edge(end, n)
    return sum(problem.sizes[new] for new in waiting)


def least_during(problem: Problem, after: list[list[int]], op: int) -> Cut:
    """Bytes that every order needs while `op` runs. after: by op, those that must follow it."""
    place = {op: AFTER}
    for edges, where in ((problem.before, BEFORE), (after, AFTER)):
        stack = [op]
        while stack:
            for j in edges[stack.pop()]:
                if j not in place:
                    place[j] = where
                    stack.append(j)
    free = [u for u in range(len(problem.before)) if u not in place]
    cut = least_cut(problem, op, free, place.__getitem__, range(len(problem.sizes)))
    return Cut(problem.base + cut.least, cut.late, cut.soon, cut.steps + len(place))
