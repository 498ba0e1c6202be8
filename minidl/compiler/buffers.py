"""Which tensors share one buffer, and for how long it is kept: what tells memory modes apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from minidl.compiler.lifetimes import Lifetime, lifetimes, overwrites
from minidl.ir import Op, StepGraph, Tensor


@dataclass(eq=False)
class Buffer:
    """Tensors that lie at the same offset, one after the other in time."""

    members: list[Tensor] = field(default_factory=list)
    last: int = 0
    """Where the last of its members has ended."""
    kept: bool = False
    """Whether its bytes are reserved for the whole step."""

    @property
    def nbytes(self) -> int:
        return max(t.nbytes for t in self.members)


@dataclass
class Sharing:
    """Buffers being formed: at first each tensor has its own."""

    graph: StepGraph
    alive: dict[Tensor, Lifetime]
    buffer_of: dict[Tensor, Buffer]

    @staticmethod
    def none(graph: StepGraph) -> Sharing:
        alive = lifetimes(graph)
        return Sharing(graph, alive, {t: Buffer([t], life.last) for t, life in alive.items()})

    def join(self, t: Tensor, other: Tensor) -> None:
        """Put `t`'s buffer where `other` is."""
        mine, theirs = self.buffer_of[t], self.buffer_of[other]
        if mine is not theirs:
            theirs.members += mine.members
            theirs.last = max(theirs.last, mine.last)
            for member in mine.members:
                self.buffer_of[member] = theirs

    def disjoint(self, t: Tensor, other: Tensor) -> bool:
        """Whether all of `t`'s buffer could lie where `other` is without touching live bytes."""
        mine, theirs = self.buffer_of[t].members, self.buffer_of[other].members
        return not any(self.alive[a].overlaps(self.alive[b]) for a in mine for b in theirs)

    def buffers(self) -> list[Buffer]:
        found = list(dict.fromkeys(self.buffer_of.values()))
        for buffer in found:
            buffer.members.sort(key=lambda t: self.alive[t].first)
        return found


def own_bytes(graph: StepGraph) -> Sharing:
    """`naive`: every tensor of the step has bytes of its own for the whole step."""
    sharing = Sharing.none(graph)
    return _keep(sharing, lambda t: True)


def after_last_use(graph: StepGraph) -> Sharing:
    """`liveness`: bytes are free after their last use; nothing is overwritten in place."""
    return Sharing.none(graph)


def in_place(graph: StepGraph) -> Sharing:
    """`arena`: like liveness, and each op writes over what it reads last, where it may."""
    sharing = Sharing.none(graph)
    for i, op in enumerate(graph.ops):
        for new, old in overwrites(op, i, sharing.alive):
            _overwrite(sharing, new, old)
    return sharing


def caffe_blobs(graph: StepGraph) -> Sharing:
    """`caffe`: every blob has data and diff for the whole step; ReLU and dropout are in place.

    A layer is in place where its forward op may overwrite its only blob; then its gradient op
    overwrites the diff likewise.
    """
    sharing = Sharing.none(graph)
    forward_of = {g.storage: t.storage for g, t in graph.gradient_of.items()}
    for i, op in enumerate(graph.ops):
        for new, old in overwrites(op, i, sharing.alive):
            x, y = forward_of.get(new), forward_of.get(old)
            if _one_blob(op) or _same_blob(sharing, x, y):
                _overwrite(sharing, new, old)
    return _keep(sharing, _is_blob)


def gradients_over_data(graph: StepGraph) -> Sharing:
    """`fujitsu2016`: `caffe`, and each blob's gradient overwrites its data where that is dead.

    Weight gradients live from wgrad to update only, and so share one buffer.
    """
    sharing = caffe_blobs(graph)
    for gradient, forward in graph.gradient_of.items():
        t, x = gradient.storage, forward.storage
        known = t in sharing.alive and x in sharing.alive and t.kind == "gradient"
        if known and _is_blob(x) and t.nbytes <= x.nbytes and sharing.disjoint(t, x):
            sharing.join(t, x)
    stashed = {t.storage for op in graph.ops if op.phase == "forward" for t in op.writes}
    return _keep(sharing, lambda t: t.kind in _KEPT or (t.kind == "mask" and t in stashed))


def _overwrite(sharing: Sharing, new: Tensor, old: Tensor) -> None:
    """Let `new` lie over `old`, unless either took another partner already."""
    mine, theirs = sharing.buffer_of[new], sharing.buffer_of[old]
    if mine is not theirs and theirs.last == sharing.alive[old].last and len(mine.members) == 1:
        sharing.join(new, old)


def _one_blob(op: Op) -> bool:
    """Whether a forward op reads one activation and only states and parameters beside it."""
    return op.phase == "forward" and sum(not t.persistent for t in op.reads) == 1


def _same_blob(sharing: Sharing, x: Tensor | None, y: Tensor | None) -> bool:
    """Whether both are tensors, and share a buffer."""
    return x is not None and y is not None and sharing.buffer_of[x] is sharing.buffer_of[y]


_KEPT = ("parameter", "state", "input", "activation", "gradient")


def _is_blob(t: Tensor) -> bool:
    return t.kind != "scratch"


def _keep(sharing: Sharing, whole_step: Callable[[Tensor], bool]) -> Sharing:
    """Reserve for the whole step the buffers of the tensors that `whole_step` names."""
    for buffer in sharing.buffer_of.values():
        buffer.kept = any(map(whole_step, buffer.members))
    return sharing
