"""Op: one unit of work, and the contract that the passes rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from minidl.ir.tensor import Tensor

Phase = Literal["forward", "dgrad", "wgrad", "update", "other"]

Function = Callable[..., None]
"""A NumPy implementation: called with the written arrays, then the arrays that are only read."""

Finish = Callable[[Any], None]
"""Takes a part of an output that is complete, and may change it in place."""

Commutes = Literal["", "positive", "selection"]
"""How an op behaves under the other: see `minidl.compiler.rewrites.commute_selections`."""


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """Reads tensors, writes tensors it is given, allocates nothing of size.

    `function` is the NumPy implementation; its name is the kernel's name on every device.
    An in-out tensor (weights, momentum) stands in both `reads` and `writes`.
    """

    function: Function
    layer: str
    phase: Phase
    writes: tuple[Tensor, ...]
    reads: tuple[Tensor, ...]
    in_place: tuple[tuple[int, int], ...] = ()
    """Pairs (k, j): `writes[k]` may lie over `reads[j]`; each byte is read before it is written."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `function`."""
    flops: int = 0
    elementwise: bool = False
    """Whether element i of each write depends on element i of the reads of that shape alone."""
    commutes: Commutes = ""
    signs: tuple[int, Function] | None = None
    """(j, f): of `reads[j]` only the signs matter, and `f` does the same from packed signs."""
    tiled: int | None = None
    """k: `function` is not given `writes[k]`; it calls `store(index, tile)` once for each part of
    it, when that part is complete, so that an elementwise op can take the tile instead."""
    finishes: bool = False
    """Whether `function` calls `finish(part)` for each part of `writes[0]` when it is complete, so
    that an elementwise op can follow in place."""
    epilogue: Op | None = None
    """An elementwise op run on each tile of `dropped`, a tensor that then has no bytes."""
    dropped: Tensor | None = None
    """The tensor that the epilogue takes tile by tile; an operand of it, of this op no more."""
    main: Op | None = None
    """With an epilogue: the op as it was without, which knows its own operands."""
    blocks: tuple[int, int] | None = None
    """(h, w): each pixel of its writes is made of a block of h rows and w columns of `reads[0]`."""
    by_blocks: bool = False
    """Whether the kernel can make `writes[0]` block by block, for an op with `blocks` to follow."""
    inlined: bool = False
    """Whether an element of the one write takes so little that its readers may make it anew."""
    inlines: int | None = None
    """j: an op that is `inlined` may make `reads[j]` inside of this op's kernel."""
    prologue: Op | None = None
    """The op made inside, whose write then has no bytes; `main` is the op as it was without."""
    packs: tuple[Tensor, int] | None = None
    """(mask, bits): no element of `mask` needs more bits, and with the attribute `bits` the
    function takes it packed along the last axis, as `minidl.ops.bits` has it."""
    chains: bool = False
    """Whether the op on reads (a, b, c) has the bits of the op on (the op on (a, b), c)."""
    joins: int | None = None
    """The axis along which the write of a forward op is its reads one after the other, or, of a
    gradient op, the read its writes: a copy that need not be made."""
    strided: bool = False
    """Whether it takes images whose pixels lie apart, their channels side by side."""
    cheap: bool = False
    """An elementwise pass in cost: may run a second time in the backward pass instead of keeping
    its output; the same bits."""
    again: bool = False
    """A forward op that runs a second time, in the backward pass, on the same bits."""
    touched: tuple[Tensor, ...] = field(init=False, repr=False)
    """What owns the bytes that it reads or writes, each once, reads first."""
    may_overwrite: tuple[tuple[Tensor, Tensor], ...] = field(init=False, repr=False)
    """The pairs (written, read) of `in_place` where the tensors allow it too: the read one does not
    last, is read once and is as large, and both are all of the bytes that they lie in."""

    def __post_init__(self) -> None:
        touched = dict.fromkeys(t.storage for t in (*self.reads, *self.writes))
        object.__setattr__(self, "touched", tuple(touched))
        object.__setattr__(self, "may_overwrite", tuple(self._overwritable()))

    def _overwritable(self) -> Iterator[tuple[Tensor, Tensor]]:
        for k, j in self.in_place:
            if k >= len(self.writes) or j >= len(self.reads):
                continue  # the verifier says so
            new, old = self.writes[k], self.reads[j]
            once = sum(t.storage is old.storage for t in self.reads) == 1
            fits = new.whole and old.whole and new.storage.nbytes <= old.storage.nbytes
            if once and fits and not old.storage.persistent:
                yield new.storage, old.storage

    @property
    def kernel(self) -> str:
        """The name of the kernel: the prologue's, the function's, the epilogue's."""
        own: str = self.function.__name__
        if self.prologue is not None:
            own = f"{self.prologue.kernel}+{own}"
        return own if self.epilogue is None else f"{own}+{self.epilogue.kernel}"

    @property
    def original(self) -> Op:
        """The op as its layer stated it, before it was fused with others."""
        return self if self.main is None else self.main.original

    @property
    def parts(self) -> tuple[Op, ...]:
        """The ops that it was fused from, in the order in which they run; itself if it was not."""
        before = self.prologue.parts if self.prologue is not None else ()
        behind = self.epilogue.parts if self.epilogue is not None else ()
        return (*before, self.original, *behind)

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The arguments of `function`, in order: every write (but a tiled one), then every tensor
        that is only read."""
        given = tuple(t for k, t in enumerate(self.writes) if k != self.tiled)
        return given + tuple(t for t in self.reads if t not in self.writes)

    @property
    def bytes_moved(self) -> int:
        """Bytes that an ideal kernel reads and writes: every operand once each way, no scratch."""
        touched = (*self.reads, *self.writes)
        return sum(t.nbytes for t in touched if t.kind != "scratch")

    @property
    def name(self) -> str:
        name = f"{self.layer}.{self.kernel}" if self.layer else self.kernel
        return f"{name}.again" if self.again else name

    def substituted(self, new: Callable[[Tensor], Tensor]) -> Op:
        """The same op on other tensors."""
        return replace(
            self,
            writes=tuple(map(new, self.writes)),
            reads=tuple(map(new, self.reads)),
            prologue=self.prologue and self.prologue.substituted(new),
            epilogue=self.epilogue and self.epilogue.substituted(new),
            dropped=self.dropped and new(self.dropped),
            main=self.main and self.main.substituted(new),
        )

    def __repr__(self) -> str:
        return f"<op {self.name}>"
