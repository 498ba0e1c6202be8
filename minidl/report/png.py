"""The arena over time as a PNG, drawn by matplotlib: the extra `plot`."""

from __future__ import annotations

from pathlib import Path

from minidl.files.png import write_figure
from minidl.ir.errors import ArgumentError
from minidl.ir.sizes import mib
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import plan_loads
from minidl.report.colours import COLOURS


def write_png(plan: PlacedGraph, path: str | Path) -> None:
    """Write the drawing to `path`; ArgumentError where matplotlib is not installed."""
    try:
        from matplotlib.collections import PatchCollection
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch, Rectangle
    except ImportError:
        raise ArgumentError(
            "a PNG is drawn by matplotlib", 'install "minidl[plot]", or use to_html()'
        ) from None
    figure = Figure(figsize=(12, 6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    owners = [(t, p) for t, p in plan.placements.items() if t.view_of is None]
    boxes = [
        Rectangle((p.first, mib(p.offset)), p.last - p.first, mib(t.nbytes)) for t, p in owners
    ]
    colours = [COLOURS[t.kind] for t, _ in owners]
    axes.add_collection(
        PatchCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.1)
    )
    loads = [mib(load) for load in plan_loads(plan)]
    axes.step(range(len(loads) + 1), [*loads, loads[-1] if loads else 0], "k", where="post", lw=1)
    axes.set_xlim(0, max(1, len(plan.graph.ops)))
    axes.set_ylim(0, 1.02 * mib(max(1, plan.arena_bytes)))
    axes.set_xlabel("position in the schedule (op)")
    axes.set_ylabel("arena, MiB")
    s = plan.subject
    size = f"{mib(plan.arena_bytes):,.1f} MiB"
    axes.set_title(f"{s.model}, batch {s.batch}, {plan.options.memory}: {size}")
    shown = dict.fromkeys(t.kind for t, _ in owners)
    handles = [Patch(color=COLOURS[kind], label=kind.replace("_", " ")) for kind in shown]
    axes.legend(handles=handles, loc="upper right", fontsize="small")
    write_figure(path, figure)
