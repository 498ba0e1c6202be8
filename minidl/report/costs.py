"""What clipping and accumulation cost: the step with them beside the same step without."""

from __future__ import annotations

from minidl.ir.sizes import format_size
from minidl.placed.graph import PlacedGraph
from minidl.report.others import Others


def cost_lines(plan: PlacedGraph, others: Others) -> list[str]:
    """A line for each of `clip_norm` and `accumulate` that is in use."""
    s, lines = plan.options, []
    if s.clip_norm is not None:
        kept = _kept_gradients(plan)
        what = f"keeps {format_size(kept)} of weight gradients" if kept else "waits for the sums"
        lines.append(
            f"clip_norm {s.clip_norm:g} {what} until their norm is known"
            f"{others.compared(plan, 'without clipping', 'clip_norm')}"
        )
    if s.accumulate > 1:
        sums = [v.tensor for v in plan.graph.variables if v.name.endswith(".gradient_sum")]
        lines.append(
            f"accumulate {s.accumulate} keeps {format_size(sum(t.nbytes for t in sums))} of sums "
            f"of gradients, an update for {s.accumulate * plan.batch} samples"
            f"{others.compared(plan, 'without accumulation', 'accumulate')}"
        )
    return lines


def _kept_gradients(plan: PlacedGraph) -> int:
    """Bytes of weight gradients that lie in the arena side by side."""
    squared = (op.reads[0] for op in plan.graph.ops if op.kernel == "sum_of_squares")
    return sum(t.nbytes for t in squared if not t.persistent)
