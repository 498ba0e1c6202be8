"""Who reads and who writes each tensor, looked up once for a whole graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minidl.ir import Op, Tensor


class Uses:
    """Ops at their positions, by the storage that they read or write."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.ops: dict[int, Op] = {}
        self._reading: dict[Tensor, set[int]] = {}
        self._writing: dict[Tensor, set[int]] = {}
        for position, op in enumerate(ops):
            self.put(position, op)

    def put(self, position: int, op: Op) -> None:
        """Let `op` stand at an empty position."""
        self.ops[position] = op
        for t in op.reads:
            self._reading.setdefault(t.storage, set()).add(position)
        for t in op.writes:
            self._writing.setdefault(t.storage, set()).add(position)

    def take(self, position: int) -> Op:
        """Remove the op at `position`."""
        op = self.ops.pop(position)
        for t in op.reads:
            self._reading[t.storage].discard(position)
        for t in op.writes:
            self._writing[t.storage].discard(position)
        return op

    def reading(self, t: Tensor) -> list[int]:
        """Positions of the ops that read the bytes of `t`."""
        return sorted(self._reading.get(t.storage, ()))

    def writing(self, t: Tensor) -> list[int]:
        """Positions of the ops that write the bytes of `t`."""
        return sorted(self._writing.get(t.storage, ()))

    def in_order(self) -> Iterator[Op]:
        return (self.ops[position] for position in sorted(self.ops))
