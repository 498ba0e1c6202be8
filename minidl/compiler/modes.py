"""The memory modes: each a choice of rewrites, order and sharing of buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from minidl.compiler.buffers import (
    Sharing,
    after_last_use,
    caffe_blobs,
    gradients_over_data,
    in_place,
    own_bytes,
)
from minidl.compiler.order import order_by_layer, order_by_size
from minidl.compiler.place import EFFORT
from minidl.compiler.rewrites import (
    chain_sums,
    commute_selections,
    fuse_activations,
    fuse_blocks,
    fuse_gradients,
    fuse_updates,
    hoist_updates,
    inline_gradients,
    join_parts,
    keep_signs,
    pack_masks,
)
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
    exact: bool = False
    """Whether cheap ops may run again, and the order is searched for over the whole step; then
    `recompute` and `budget` can be asked for."""
    idea: str = ""
    """What it adds, in a few words."""


MODES = {
    mode.name: mode
    for mode in (
        Mode("naive", (), own_bytes, idea="every tensor has its own bytes for the whole step"),
        Mode(
            "caffe",
            (commute_selections,),
            caffe_blobs,
            idea="data and diff of every blob; ReLU and dropout in place",
        ),
        Mode("liveness", (), after_last_use, idea="bytes are free after their last use"),
        Mode(
            "fujitsu2016",
            (commute_selections, keep_signs, hoist_updates, order_by_size),
            gradients_over_data,
            idea="caffe with gradients over data, one weight-gradient buffer",
        ),
        Mode(
            "arena",
            (
                commute_selections,
                chain_sums,
                fuse_gradients,
                keep_signs,
                pack_masks,
                fuse_activations,
                fuse_blocks,
                inline_gradients,
                join_parts,
                fuse_updates,
                hoist_updates,
                order_by_layer,
            ),
            in_place,
            EFFORT,
            exact=True,
            idea="all lossless rewrites, best order and placement",
        ),
    )
}


def find_mode(name: str) -> Mode:
    """The mode called `name`; ArgumentError names the ones there are."""
    if name not in MODES:
        raise ArgumentError(f"unknown memory mode {name!r}", f"choose from {', '.join(MODES)}")
    return MODES[name]


def switches() -> list[str]:
    """Names of the passes that can be switched off, in the order in which `arena` runs them."""
    return [*(change.__name__ for change in MODES["arena"].passes), "recompute", "order_for_peak"]


def check_switches(names: Iterable[str]) -> None:
    """ArgumentError for a name that is no pass."""
    for name in names:
        if name not in switches():
            raise ArgumentError(
                f"no pass {name!r} to leave out", f"choose from {', '.join(switches())}"
            )
