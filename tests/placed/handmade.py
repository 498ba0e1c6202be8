"""Plans made by hand and by chance, without the planner, and a machine that runs plans on bytes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from minidl.ir import Op, Phase, StepGraph, Tensor, Variable
from minidl.ir.tensor import Kind
from minidl.options import Options
from minidl.placed.graph import PlacedGraph, Placement, Subject

ALIGNMENT = 16
SUBJECT, OPTIONS = Subject("handmade", 1, (1, 1, 1)), Options(alignment=ALIGNMENT)

Places = dict[Tensor, tuple[int, int, int]]
"""Offset, first, last."""


def kernel() -> None:
    """What every op here runs: nothing."""


def tensor(
    name: str, nbytes: int, kind: Kind = "activation", view_of: Tensor | None = None
) -> Tensor:
    return Tensor(name, (nbytes,), "uint8", kind, view_of)


def op(
    name: str,
    writes: Sequence[Tensor],
    reads: Sequence[Tensor],
    phase: Phase = "forward",
    in_place: tuple[tuple[int, int], ...] = (),
) -> Op:
    return Op(kernel, name, phase, tuple(writes), tuple(reads), in_place=in_place)


def zeros(_: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)


def plan_of(
    ops: Sequence[Op],
    places: Places,
    outputs: Iterable[Tensor],
    arena_bytes: int,
    max_load_bytes: int,
    guard: int = 0,
) -> PlacedGraph:
    """Views are placed with what they view; inputs and variables are told by their kind."""
    used = dict.fromkeys(t for o in ops for t in (*o.reads, *o.writes))
    views = [t for t in (*used, *outputs) if t.view_of is not None]
    places = {**places, **{v: places[v.view_of] for v in views if v.view_of is not None}}
    graph = StepGraph(
        tuple(ops),
        tuple(t for t in places if t.kind == "input"),
        tuple(outputs),
        tuple(Variable(t.name, t, zeros) for t in places if t.kind in ("parameter", "state")),
    )
    placements = {t: Placement(*place) for t, place in places.items()}
    figures = arena_bytes, max_load_bytes, guard
    return PlacedGraph(SUBJECT, OPTIONS, graph, placements, *figures)


# -- by hand -----------------------------------------------------------------------------------


def training_step() -> PlacedGraph:
    """Convolution, ReLU and loss with gradients and update: bytes reused and written in place."""
    w, v = tensor("w", 16, "parameter"), tensor("v", 16, "state")
    x, y, z = tensor("x", 32, "input"), tensor("y", 32), tensor("z", 32)
    loss, dz = tensor("loss", 4), tensor("dz", 32, "gradient")
    dy, dx = tensor("dy", 32, "gradient"), tensor("dx", 32, "gradient")
    dw, scratch = tensor("dw", 16, "weight_gradient"), tensor("s", 16, "scratch")
    ops = [
        op("conv", [y], [x, w]),
        op("relu", [z], [y], in_place=((0, 0),)),
        op("loss", [loss, dz], [z]),
        op("drelu", [dy], [dz, z], "dgrad", in_place=((0, 0), (0, 1))),
        op("wgrad", [dw, scratch], [dy, x], "wgrad"),
        op("dgrad", [dx], [dy, w], "dgrad"),
        op("sgd", [w, v], [w, v, dw], "update"),
    ]
    places = {
        w: (0, 0, 7),
        v: (16, 0, 7),
        x: (32, 0, 5),
        y: (64, 0, 2),
        z: (64, 1, 4),
        loss: (96, 2, 7),
        dz: (112, 2, 4),
        dy: (64, 3, 6),
        dw: (112, 4, 7),
        scratch: (128, 4, 5),
        dx: (32, 5, 6),
    }
    return plan_of(ops, places, [loss], arena_bytes=144, max_load_bytes=144)


def views_step() -> PlacedGraph:
    """A view read and overwritten in place, a view written, a sum into an in-out tensor."""
    x, y, out, g = tensor("x", 24, "input"), tensor("y", 24), tensor("out", 24), tensor("g", 16)
    flat, part = tensor("flat", 24, view_of=y), tensor("part", 16, view_of=g)
    ops = [
        op("first", [y], [x]),
        op("over", [out], [flat], in_place=((0, 0),)),
        op("begin", [part], [out]),
        op("add", [g], [g, x], "dgrad"),
    ]
    places = {x: (0, 0, 4), y: (32, 0, 2), out: (32, 1, 3), g: (64, 2, 4)}
    return plan_of(ops, places, [part], arena_bytes=80, max_load_bytes=80)


def guarded_step() -> PlacedGraph:
    """Every tensor for the whole step, with guards behind it, and a counter that counts."""
    step, x = tensor("step", 8, "state"), tensor("x", 10, "input")
    y, out = tensor("y", 10), tensor("out", 4)
    ops = [
        op("drop", [y], [x, step]),
        op("sum", [out], [y]),
        op("count", [step], [step], "update"),
    ]
    places = {step: (0, 0, 3), x: (32, 0, 3), y: (64, 0, 3), out: (96, 0, 3)}
    return plan_of(ops, places, [out], arena_bytes=128, max_load_bytes=128, guard=16)


# -- by chance ---------------------------------------------------------------------------------


def naive_chain(seed: int) -> PlacedGraph:
    """A random graph; every tensor has bytes of its own for the whole step."""
    ops, outputs = random_ops(random.Random(seed))
    places, end = {}, 0
    for t in owners(ops):
        places[t] = (end, 0, len(ops))
        end += rounded(t)
    return plan_of(ops, places, outputs, end, end)


def packed_chain(seed: int) -> PlacedGraph:
    """A random graph with true lifetimes: each tensor over one that ends there, or at the first
    free offset."""
    ops, outputs = random_ops(random.Random(seed))
    lives = true_lifetimes(ops, outputs)
    places: Places = {}
    for t, (first, last) in sorted(lives.items(), key=lambda item: item[1][0]):
        offset = _over(ops[first], t, lives, places)
        places[t] = (_first_free(t, lives, places) if offset is None else offset, first, last)
    end = max(places[t][0] + rounded(t) for t in places)
    return with_load(plan_of(ops, places, outputs, end, 0))


def random_ops(rng: random.Random) -> tuple[list[Op], list[Tensor]]:
    x = tensor("x", rng.randint(1, 64), "input")
    weights = [tensor(f"w{k}", rng.randint(1, 40), "parameter") for k in range(rng.randint(1, 2))]
    values, ops = [x], []
    for k in range(rng.randint(3, 8)):
        reads = [values[-1], *rng.sample(values, min(len(values), rng.randint(0, 2)))]
        reads = [*dict.fromkeys(reads), *rng.sample(weights, rng.randint(0, 1))]
        y = tensor(f"y{k}", min(reads[0].nbytes, rng.randint(1, 64)))
        extra = [tensor(f"s{k}", rng.randint(1, 64), "scratch")] if rng.random() < 0.4 else []
        pairs = ((0, 0),) if rng.random() < 0.6 else ()
        if rng.random() < 0.3:
            reads[0] = tensor(f"v{k}", reads[0].nbytes, view_of=reads[0].view_of or reads[0])
        ops.append(op(f"op{k}", [y, *extra], reads, in_place=pairs))
        values.append(y)
    for w in weights:
        ops.append(op(f"update_{w.name}", [w], [w, values[-1]], "update"))
    return ops, values[-1:]


def owner(t: Tensor) -> Tensor:
    return t if t.view_of is None else owner(t.view_of)


def owners(ops: Sequence[Op]) -> list[Tensor]:
    used = dict.fromkeys(owner(t) for o in ops for t in (*o.reads, *o.writes))
    return sorted(used, key=lambda t: t.kind not in ("parameter", "state"))


def rounded(t: Tensor) -> int:
    return -(-t.nbytes // ALIGNMENT) * ALIGNMENT


def true_lifetimes(ops: Sequence[Op], outputs: Iterable[Tensor]) -> dict[Tensor, tuple[int, int]]:
    """From first to last use; what is given from 0, what must stay to the end."""
    lives = {}
    for t in owners(ops):
        uses = [i for i, o in enumerate(ops) if t in map(owner, (*o.reads, *o.writes))]
        given = t.kind in ("parameter", "state", "input")
        stays = t.kind in ("parameter", "state") or t in map(owner, outputs)
        lives[t] = (0 if given else uses[0], len(ops) if stays else uses[-1] + 1)
    return lives


def _over(o: Op, t: Tensor, lives: dict[Tensor, tuple[int, int]], places: Places) -> int | None:
    """The offset of a read that `t` may be written over."""
    reads = [owner(r) for r in o.reads]
    for k, j in o.in_place:
        old = reads[j]
        ends = lives[old][1] == lives[t][0] + 1 and old.kind != "parameter"
        if o.writes[k] is t and ends and reads.count(old) == 1 and t.nbytes <= old.nbytes:
            return places[old][0]
    return None


def _first_free(t: Tensor, lives: dict[Tensor, tuple[int, int]], places: Places) -> int:
    first, last = lives[t]
    beside = sorted(
        (offset, offset + rounded(other))
        for other, (offset, begin, end) in places.items()
        if begin < last and first < end
    )
    free = 0
    for start, end in beside:
        if free + rounded(t) <= start:
            break
        free = max(free, end)
    return free


def with_load(plan: PlacedGraph) -> PlacedGraph:
    """The plan with the load that its lifetimes have, counted tensor by tensor and op by op."""
    most = 0
    for i, o in enumerate(plan.graph.ops):
        live = {t for t, p in plan.placements.items() if not t.view_of and p.first <= i < p.last}
        pairs = {(owner(o.writes[k]), owner(o.reads[j])) for k, j in o.in_place}
        load = sum(map(rounded, live))
        for new, old in pairs:
            a, b = plan.placements[new], plan.placements[old]
            if new is not old and a.offset == b.offset and a.first == i == b.last - 1:
                load -= min(rounded(new), rounded(old))
        most = max(most, load)
    return replace(plan, max_load_bytes=most)


# -- a machine ---------------------------------------------------------------------------------


Trace = dict[str, bytes]
"""What each op read and what lasts after the step, by name."""


def reference(plan: PlacedGraph) -> Trace:
    """The graph run with memory of its own for every tensor: what the plan has to compute."""
    memory = {t: bytearray(t.nbytes) for t in owners(plan.graph.ops)}
    return _run(plan, lambda t: memoryview(memory[owner(t)]))


def in_arena(plan: PlacedGraph) -> Trace:
    """The plan run in one bytearray, wherever it says; KeyError or IndexError where it cannot."""
    arena = memoryview(bytearray(plan.arena_bytes))

    def view(t: Tensor) -> memoryview:
        start = plan.placements[t].offset
        if start < 0 or start + t.nbytes > len(arena):
            raise IndexError(f"{t} is outside of the arena")
        return arena[start : start + t.nbytes]

    return _run(plan, view, lambda t: plan.placements[t].offset)


def _run(
    plan: PlacedGraph,
    view: Callable[[Tensor], memoryview],
    address: Callable[[Tensor], object] = lambda t: t,
) -> Trace:
    """An op's results are a hash of its reads; only where it may be in place, and on the same
    bytes, does it read before it writes."""
    trace: Trace = {}
    graph = plan.graph
    for t in (*(v.tensor for v in graph.variables), *graph.inputs):
        view(t)[:] = _noise(t.name.encode(), t.nbytes)
    for o in graph.ops:
        for k, t in enumerate(o.writes):
            over = [o.reads[j] for w, j in o.in_place if w == k]
            if t not in o.reads and not any(address(t) == address(r) for r in over):
                view(t)[:] = b"\xaa" * t.nbytes
        trace[o.layer] = b"".join(bytes(view(t)) for t in o.reads)
        for t in o.writes:
            view(t)[:] = _noise(o.layer.encode() + t.name.encode() + trace[o.layer], t.nbytes)
    for t in (*graph.outputs, *(v.tensor for v in graph.variables)):
        trace[f"after:{t.name}"] = bytes(view(t))
    return trace


def _noise(seed: bytes, nbytes: int) -> bytes:
    return random.Random(zlib.crc32(seed)).randbytes(nbytes)
