"""Op: one unit of work, and the contract that the passes rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from minidl.ir.tensor import Tensor

Phase = Literal["forward", "recompute", "dgrad", "wgrad", "update", "other"]
"""recompute: a forward op that runs a second time, in the backward pass, on the same bits."""

Function = Callable[..., None]
"""A NumPy implementation: called with the written arrays, then the arrays that are only read."""

Finish = Callable[[Any], None]
"""Takes a part of an output that is complete, and may change it in place."""

Commutes = Literal["", "positive", "selection"]
"""How an op behaves under the other: see `minidl.compiler.rewrites.commute_selections`."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What an op promises on every device; its layer says so."""

    elementwise: bool = False
    """Element i of each write depends on element i of the reads of that shape alone."""
    commutes: Commutes = ""
    """The gradient of a "positive" op reads dy and y, and of y the signs alone."""
    cheap: bool = False
    """An elementwise pass in cost: may run a second time in the backward pass instead of keeping
    its output; the same bits."""
    strided: bool = False
    """It takes images whose pixels lie apart, their channels side by side."""
    joins: int | None = None
    """The axis along which the write of a forward op is its reads one after the other, or, of a
    gradient op, the read its writes: a copy that need not be made."""
    packs: tuple[Tensor, int] | None = None
    """(mask, bits): no element of `mask` needs more bits, and with the attribute `bits` the
    function takes it packed along the last axis, as `minidl.ops.bits` has it."""
    blocks: tuple[int, int] | None = None
    """(h, w): each pixel of a forward op's write is made of a block of h rows and w columns of
    `reads[0]`; a gradient op spreads each pixel of `reads[0]` over such a block, at so little cost
    that its readers may do it themselves."""


@dataclass(frozen=True, slots=True)
class Takes:
    """What the kernel of an op takes in on one device; the device's rule says so."""

    tiled: int | None = None
    """k: `function` is not given `writes[k]`; it calls `store(index, tile)` once for each part of
    it, when that part is complete, so that an elementwise op can take the tile instead."""
    finishes: bool = False
    """`function` calls `finish(part)` for each part of `writes[0]` when it is complete, so that an
    elementwise op can follow in place."""
    by_blocks: bool = False
    """It can make `writes[0]` block by block, for an op with `blocks` to follow."""
    inlines: int | None = None
    """j: what spreads blocks over `reads[j]` may be made inside of this op's kernel."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """The ops that the rewrites made one op of, which then reads and writes for all of them."""

    main: Op | None = None
    """The op as it was without, which knows its own operands."""
    prologue: Op | None = None
    """The op made inside, whose write then has no bytes."""
    epilogue: Op | None = None
    """An elementwise op run on each tile of `between`."""

    @property
    def between(self) -> Tensor | None:
        """What the epilogue takes tile by tile, and nobody else: a tensor that has no bytes."""
        if self.main is None or self.epilogue is None:
            return None
        return self.main.writes[self.main.takes.tiled or 0]

    def substituted(self, new: Callable[[Tensor], Tensor]) -> Fusion:
        """The same on other tensors."""
        if self.main is None:
            return self
        inner = (self.main, self.prologue, self.epilogue)
        return Fusion(*(op and op.substituted(new) for op in inner))


ALONE = Fusion()


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
    contract: Contract = Contract()
    takes: Takes = Takes()
    fusion: Fusion = ALONE
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
        if self.fusion.prologue is not None:
            own = f"{self.fusion.prologue.kernel}+{own}"
        return own if self.fusion.epilogue is None else f"{own}+{self.fusion.epilogue.kernel}"

    @property
    def original(self) -> Op:
        """The op as its layer stated it, before it was fused with others."""
        return self if self.fusion.main is None else self.fusion.main.original

    @property
    def parts(self) -> tuple[Op, ...]:
        """The ops that it was fused from, in the order in which they run; itself if it was not."""
        before = self.fusion.prologue.parts if self.fusion.prologue is not None else ()
        behind = self.fusion.epilogue.parts if self.fusion.epilogue is not None else ()
        return (*before, self.original, *behind)

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """The arguments of `function`, in order: every write (but a tiled one), then every tensor
        that is only read."""
        given = tuple(t for k, t in enumerate(self.writes) if k != self.takes.tiled)
        return given + tuple(t for t in self.reads if t not in self.writes)

    @property
    def bytes_moved(self) -> int:
        """Bytes that an ideal kernel reads and writes: every operand once each way, no scratch."""
        touched = (*self.reads, *self.writes)
        return sum(t.nbytes for t in touched if t.kind != "scratch")

    @property
    def name(self) -> str:
        name = f"{self.layer}.{self.kernel}" if self.layer else self.kernel
        return f"{name}.recomputed" if self.phase == "recompute" else name

    def promising(self, **changes: Any) -> Op:
        """The same op with another contract, field by field."""
        return replace(self, contract=replace(self.contract, **changes))

    def taking(self, **changes: Any) -> Op:
        """The same op that takes other things in, field by field."""
        return replace(self, takes=replace(self.takes, **changes))

    def substituted(self, new: Callable[[Tensor], Tensor]) -> Op:
        """The same op on other tensors."""
        return replace(
            self,
            writes=tuple(map(new, self.writes)),
            reads=tuple(map(new, self.reads)),
            fusion=self.fusion.substituted(new),
        )

    def __repr__(self) -> str:
        return f"<op {self.name}>"
