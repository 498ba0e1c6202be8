"""Whether a plan does what was asked for: the graph as it was lowered, before any rewrite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from minidl.ir import Op, PlanError, StepGraph, Tensor
from minidl.ir.op import Function

Change = tuple[Function, Tensor]
"""A function, and the parameter or state that it writes."""


def check_asked(planned: StepGraph, asked: StepGraph) -> None:
    """PlanError unless each parameter and state is changed as often as was asked for, by the same
    functions, and no op may write over what it reads where its function has no such leave.

    Rewrites make one op of several, change tensors that do not last, and add ops of their own;
    they never add, drop or repeat what changes a variable.
    """
    _check_changes(planned.ops, asked.ops)
    leave = _leave(asked.ops)
    for i, op in enumerate(planned.ops):
        allowed = _allowed(op, leave)
        for k, j in op.in_place:
            pair = op.writes[k], op.reads[j]
            if pair not in allowed:
                raise PlanError(
                    f"op {i} {op.name!r}: its in_place lists {pair[0].name!r} over "
                    f"{pair[1].name!r}, for which its layer has given no leave"
                )


def _check_changes(planned: Iterable[Op], asked: Iterable[Op]) -> None:
    done, wanted = Counter(_changes(planned)), Counter(_changes(asked))
    for (function, t), count in (done - wanted).items():
        raise PlanError(
            f"{t.kind} {t.name!r} is changed by {function.__name__} {count + wanted[function, t]} "
            f"times, where {wanted[function, t]} were asked for"
        )
    for function, t in wanted - done:
        raise PlanError(
            f"{t.kind} {t.name!r} is changed by {function.__name__} in the graph, and by no op here"
        )


def _changes(ops: Iterable[Op]) -> Iterator[Change]:
    for op in ops:
        for part in op.parts:
            yield from ((part.function, t.storage) for t in part.writes if t.storage.persistent)


def _leave(ops: Iterable[Op]) -> dict[Function, set[tuple[int, int]]]:
    """By function, the pairs that some op of it was given leave for."""
    found: dict[Function, set[tuple[int, int]]] = {}
    for op in ops:
        found.setdefault(op.function, set()).update(op.in_place)
    return found


def _allowed(op: Op, leave: dict[Function, set[tuple[int, int]]]) -> set[tuple[Tensor, Tensor]]:
    """The pairs of tensors that an op may have over each other: those of its parts, and a part's
    write over what the part before it read, where that lies over the tensor between the two."""
    over: dict[Tensor, set[Tensor]] = {}
    for part in op.parts:
        given = leave.get(part.function)
        for k, j in part.in_place:
            if given is None or (k, j) in given:
                read = part.reads[j]
                over.setdefault(part.writes[k], set()).update({read} | over.get(read, set()))
    return {(new, old) for new, olds in over.items() for old in olds}
