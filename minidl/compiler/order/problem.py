"""The order problem as plain numbers: what each op must follow, begins, ends and may overwrite."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minidl.ir import StepGraph, Tensor, dependencies
from minidl.options import ALIGNMENT


@dataclass(frozen=True)
class Problem:
    """Ops and buffers by number, in the order of `graph.ops`; sizes are rounded up to `alignment`.

    Views count as what they view. What lives for the whole step is in `base` alone.
    """

    base: int
    """Bytes that every order keeps for the whole step."""
    sizes: list[int]
    begins: list[bool]
    """Whether a buffer begins with the first op that touches it; else it is given."""
    ends: list[bool]
    """Whether it is dead after the last op that touches it; else it is an output."""
    users: list[list[int]]
    """By buffer, the ops that touch it."""
    writers: list[list[int]]
    touches: list[list[int]]
    """By op, the buffers that it touches, each once."""
    overwrites: list[list[tuple[int, int]]]
    """By op, the pairs (new, old) that may share bytes if old is dead after it."""
    before: list[set[int]]
    """By op, those it must follow."""

    @staticmethod
    def of(graph: StepGraph, alignment: int = ALIGNMENT) -> Problem:
        lasting = _lasting(graph)
        number: dict[Tensor, int] = {}
        users: list[list[int]] = []
        writers: list[list[int]] = []
        touches: list[list[int]] = []
        overwrites: list[list[tuple[int, int]]] = []
        for i, op in enumerate(graph.ops):
            own: dict[int, None] = {}
            for operands, by in ((op.reads, users), (op.writes, writers)):
                for t in operands:
                    if t.storage not in lasting:
                        b = number.setdefault(t.storage, len(number))
                        if b == len(users):
                            users.append([])
                            writers.append([])
                        own[b] = None
                        if by is writers and i not in writers[b][-1:]:
                            writers[b].append(i)
            for b in own:
                users[b].append(i)
            touches.append(list(own))
            pairs = [(number.get(new), number.get(old)) for new, old in op.may_overwrite]
            overwrites.append([(a, b) for a, b in pairs if a is not None and b is not None])
        outputs = {t.storage for t in graph.outputs}

        def rounded(t: Tensor) -> int:
            return -(-t.nbytes // alignment) * alignment

        return Problem(
            base=sum(map(rounded, lasting)),
            sizes=[rounded(t) for t in number],
            begins=[not t.given for t in number],
            ends=[t not in outputs for t in number],
            users=users,
            writers=writers,
            touches=touches,
            overwrites=overwrites,
            before=dependencies(graph.ops),
        )

    def loads(self, order: Iterable[int]) -> list[int]:
        """Bytes live while each op of `order` runs."""
        walk = Walk(self)
        found = []
        for i in order:
            found.append(walk.during(i))
            walk.run(i)
        return found


def _lasting(graph: StepGraph) -> set[Tensor]:
    """What holds its bytes for the whole step in every order: variables, inputs that wait, and a
    lone scalar."""
    scalars = {t.storage for t in graph.outputs if t.size == 1}
    return {v.tensor for v in graph.variables}.union(graph.waiting, scalars)


class Walk:
    """One order being walked: what is live now, and what each op would need next.

    What an op begins and ends changes only as one of its buffers is touched for the first time or
    down to its last user, so both sums are kept, op by op, and not made anew for each question.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.left = [len(users) for users in problem.users]
        given = (s for s, begins in zip(problem.sizes, problem.begins, strict=True) if not begins)
        self.live = problem.base + sum(given)
        self.begun = [0] * len(problem.touches)
        """By op, the bytes of what begins if it runs next."""
        self.ended = [0] * len(problem.touches)
        """By op, the bytes of what ends if it runs next."""
        for b, users in enumerate(problem.users):
            for op in users:
                self.begun[op] += self._starts(b) * problem.sizes[b]
                self.ended[op] += self._stops(b) * problem.sizes[b]

    def _starts(self, buffer: int) -> bool:
        """Whether the next op that touches the buffer begins it."""
        untouched = self.left[buffer] == len(self.problem.users[buffer])
        return untouched and self.problem.begins[buffer]

    def _stops(self, buffer: int) -> bool:
        """Whether the next op that touches the buffer ends it."""
        return self.left[buffer] == 1 and self.problem.ends[buffer]

    def during(self, op: int) -> int:
        """Bytes live while `op` runs next."""
        load = self.live + self.begun[op]
        if overwrites := self.problem.overwrites[op]:
            taken: set[int] = set()
            for new, old in overwrites:
                if new not in taken and old not in taken and self._starts(new) and self._stops(old):
                    load -= self.problem.sizes[new]
                    taken |= {new, old}
        return load

    def change(self, op: int) -> int:
        """Bytes live after `op` less those before it."""
        return self.begun[op] - self.ended[op]

    def run(self, op: int) -> None:
        self.live += self.begun[op] - self.ended[op]
        for b in self.problem.touches[op]:
            self._count(b, -1)

    def undo(self, op: int) -> None:
        """Take back `op`, which ran last."""
        for b in self.problem.touches[op]:
            self._count(b, +1)
        self.live -= self.begun[op] - self.ended[op]

    def _count(self, b: int, by: int) -> None:
        """Change how many users buffer `b` has left, and with it what they begin and end."""
        problem, size, users = self.problem, self.problem.sizes[b], self.problem.users[b]
        before, now = self.left[b], self.left[b] + by
        self.left[b] = now
        if problem.begins[b] and len(users) in (before, now):
            fresh = size if now == len(users) else -size
            for op in users:
                self.begun[op] += fresh
        if problem.ends[b] and 1 in (before, now):
            last = size if now == 1 else -size
            for op in users:
                self.ended[op] += last
