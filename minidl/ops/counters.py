"""Counters that live in the arena: steps, updates, calls since the last update."""

from __future__ import annotations

from minidl.ir import Array


def count_step(step: Array) -> None:
    """step = step + 1."""
    step += 1


def count_micro_batch(call: Array, *, calls: int) -> None:
    """call = (call + 1) mod calls."""
    call += 1
    call %= calls
