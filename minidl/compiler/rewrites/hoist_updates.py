"""Updates as early as they may run."""

from __future__ import annotations

from dataclasses import replace

from minidl.ir import Op, StepGraph, dependencies


def hoist_updates(graph: StepGraph) -> StepGraph:
    """Move each update to right behind the last op that it must follow, instead of the end."""
    after = dependencies(graph.ops)
    hoisted: dict[int, list[Op]] = {}
    place: dict[int, int] = {}
    for i, op in enumerate(graph.ops):
        moves = "update" in (op.phase, op.fusion.epilogue and op.fusion.epilogue.phase)
        place[i] = max((place[j] for j in after[i]), default=0) if moves else i
        hoisted.setdefault(place[i], []).append(op)
    return replace(graph, ops=tuple(op for i in sorted(hoisted) for op in hoisted[i]))
