"""Colours of drawings: each stands out from its ground by 3:1 or more, as WCAG 2 has graphics."""

from __future__ import annotations

from collections.abc import Mapping

from minidl.ir.tensor import Kind

Ink = tuple[str, str]
"""On a light ground and on a dark one."""

KINDS: Mapping[Kind, Ink] = {
    "parameter": ("#3f5f86", "#6f93c0"),
    "state": ("#7390b5", "#a9bfd9"),
    "input": ("#8f8577", "#b3aa9c"),
    "activation": ("#2b936e", "#3fb58a"),
    "gradient": ("#d9661a", "#f0944d"),
    "weight_gradient": ("#b93a37", "#e0736f"),
    "mask": ("#8661ad", "#a98bcb"),
    "scratch": ("#a08a00", "#d8c23a"),
}
"""Of tensors, in the order of a legend."""

COLOURS: Mapping[Kind, str] = {kind: light for kind, (light, _) in KINDS.items()}
"""Of tensors in a drawing whose ground is light."""

BLUE, ORANGE, PURPLE, GREEN = (
    KINDS[kind] for kind in ("parameter", "gradient", "mask", "activation")
)
