"""The plans that the documentation's tables are made of."""

from __future__ import annotations

from functools import cache
from typing import Any

import minidl as dl
from minidl import models
from minidl.compiler.modes import MODES

OPTIMIZER = dl.SGD(lr=0.01, momentum=0.9)

PUBLISHED = tuple(MODES)


def planned(model: str, batch: int, **how: Any) -> dl.Plan:
    net = models.MODELS[model]()
    return dl.plan(net, batch, optimizer=OPTIMIZER, device="cuda", **how)


@cache
def bytes_of(model: str, batch: int, **how: Any) -> int:
    return planned(model, batch, **how).arena_bytes
