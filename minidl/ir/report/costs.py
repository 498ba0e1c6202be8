"""What clipping and accumulation cost: the step with them beside the same step without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minidl.ir.sizes import format_size

if TYPE_CHECKING:
    from minidl.ir.plan import Plan


def cost_lines(plan: Plan) -> list[str]:
    """A line for each of `clip_norm` and `accumulate` that is in use."""
    s, lines = plan.setting, []
    if s.clip_norm is not None:
        kept = _kept_gradients(plan)
        what = f"keeps {format_size(kept)} of weight gradients" if kept else "waits for the sums"
        lines.append(
            f"clip_norm {s.clip_norm:g} {what} until their norm is known"
            f"{_compared(plan, 'without clipping', 'clip_norm')}"
        )
    if s.accumulate > 1:
        sums = [v.tensor for v in plan.graph.variables if v.name.endswith(".gradient_sum")]
        lines.append(
            f"accumulate {s.accumulate} keeps {format_size(sum(t.nbytes for t in sums))} of sums "
            f"of gradients, an update for {s.accumulate * s.batch} samples"
            f"{_compared(plan, 'without accumulation', 'accumulate')}"
        )
    return lines


def _kept_gradients(plan: Plan) -> int:
    """Bytes of weight gradients that lie in the arena side by side."""
    squared = (op.reads[0] for op in plan.graph.ops if op.kernel == "sum_of_squares")
    return sum(t.nbytes for t in squared if not t.persistent)


def _compared(plan: Plan, words: str, setting: str) -> str:
    if setting not in plan.bytes_without:
        return ""
    here, without = format_size(plan.arena_bytes), format_size(plan.bytes_without[setting])
    return f": arena {here}, {words} {without}"
