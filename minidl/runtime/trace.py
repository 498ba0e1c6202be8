"""A trace of one measured step, for https://ui.perfetto.dev or chrome://tracing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from minidl.files.atomic import write_text
from minidl.ir import Op
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import plan_loads


class Trace:
    """When each op ended; an observer of a program's run."""

    def __init__(self, plan: PlacedGraph) -> None:
        self.plan = plan
        self.ends: list[int] = []
        self.start = time.perf_counter_ns()

    def begin(self) -> None:
        """The first op begins now."""
        self.ends, self.start = [], time.perf_counter_ns()

    def observe(self, index: int, op: Op) -> None:
        self.ends.append(time.perf_counter_ns())

    def events(self) -> list[dict[str, Any]]:
        """Trace events: an op is a span, in microseconds; live bytes are a counter."""
        starts = [self.start, *self.ends[:-1]]
        rows = zip(self.plan.graph.ops, plan_loads(self.plan), starts, self.ends, strict=True)
        found: list[dict[str, Any]] = []
        for op, live, start, end in rows:
            at = (start - self.start) / 1000
            found.append(
                {
                    "name": op.name,
                    "cat": op.phase,
                    "ph": "X",
                    "pid": 1,
                    "tid": 1,
                    "ts": at,
                    "dur": (end - start) / 1000,
                    "args": {"layer": op.layer, "flops": op.flops, "bytes_moved": op.bytes_moved},
                }
            )
            counter = {"name": "live bytes", "ph": "C", "pid": 1, "ts": at}
            found.append({**counter, "args": {"bytes": live}})
        return found

    def write(self, path: str | Path) -> None:
        """Write the trace as JSON."""
        data = {"traceEvents": self.events(), "displayTimeUnit": "ms"}
        write_text(path, json.dumps(data))
