"""The memory modes: each a choice of rewrites, order and sharing of buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minidl.compiler.buffers import (
    Sharing,
    after_last_use,
    caffe_blobs,
    gradients_over_data,
    in_place,
    own_bytes,
)
from minidl.compiler.place import EFFORT
from minidl.compiler.rewrites import (
    commute_selections,
    fuse_updates,
    hoist_updates,
    keep_signs,
)
from minidl.compiler.schedule import order_by_size, order_for_peak
from minidl.ir import ArgumentError, StepGraph

Pass = Callable[[StepGraph], StepGraph]


@dataclass(frozen=True)
class Mode:
    """One way to lay out a step. Every mode computes the same bits."""

    name: str
    passes: tuple[Pass, ...]
    share: Callable[[StepGraph], Sharing]
    effort: int = EFFORT // 40
    """Block placements that may be spent on reaching the lower bound."""


MODES = {
    mode.name: mode
    for mode in (
        Mode("naive", (), own_bytes),
        Mode("caffe", (commute_selections,), caffe_blobs),
        Mode("liveness", (), after_last_use),
        Mode(
            "fujitsu2016",
            (commute_selections, keep_signs, hoist_updates, order_by_size),
            gradients_over_data,
        ),
        Mode(
            "arena",
            (commute_selections, keep_signs, fuse_updates, hoist_updates, order_for_peak),
            in_place,
            EFFORT,
        ),
    )
}


def find_mode(name: str) -> Mode:
    """The mode called `name`; ArgumentError names the ones there are."""
    if name not in MODES:
        raise ArgumentError(f"unknown memory mode {name!r}: choose from {', '.join(MODES)}")
    return MODES[name]
