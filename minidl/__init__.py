"""minidl: a mini deep-learning framework in which one training step is one planned arena.

A name's module is imported when the name is asked for: `import minidl` alone loads nothing, not
even NumPy or `typing`, so that `minidl --help` is there at once, and Ctrl-C soon understood.
"""

from __future__ import annotations

from importlib import import_module

from minidl.checkout import find_models

__version__ = "0.2.0"

HOMES = {
    "SGD": "minidl.optim",
    "Adam": "minidl.optim",
    "AdamW": "minidl.optim",
    "ArenaTooLargeError": "minidl.ir",
    "ArgumentError": "minidl.ir",
    "BudgetError": "minidl.ir",
    "CheckpointError": "minidl.ir",
    "MinidlError": "minidl.ir",
    "NotFiniteError": "minidl.ir",
    "Optimizer": "minidl.optim",
    "Options": "minidl.options",
    "Plan": "minidl.recipe",
    "PlanError": "minidl.ir",
    "ShapeError": "minidl.ir",
    "Step": "minidl.runtime.step",
    "compile": "minidl.front",
    "plan": "minidl.front",
}
"""The module of each public name; the layers' names are listed in `minidl.layers` alone."""

ROOMS = ("data", "layers", "models", "optim")
"""Modules that are attributes without an import of their own."""

TYPE_CHECKING = False

if TYPE_CHECKING:  # the same for mypy and editors; a test compares the two
    from types import ModuleType
    from typing import Any

    from minidl import data as data
    from minidl import layers as layers
    from minidl import optim as optim
    from minidl.front import compile as compile
    from minidl.front import plan as plan
    from minidl.ir import ArenaTooLargeError as ArenaTooLargeError
    from minidl.ir import ArgumentError as ArgumentError
    from minidl.ir import BudgetError as BudgetError
    from minidl.ir import CheckpointError as CheckpointError
    from minidl.ir import MinidlError as MinidlError
    from minidl.ir import NotFiniteError as NotFiniteError
    from minidl.ir import PlanError as PlanError
    from minidl.ir import ShapeError as ShapeError
    from minidl.layers import *  # noqa: F403
    from minidl.optim import SGD as SGD
    from minidl.optim import Adam as Adam
    from minidl.optim import AdamW as AdamW
    from minidl.optim import Optimizer as Optimizer
    from minidl.options import Options as Options
    from minidl.recipe import Plan as Plan
    from minidl.runtime.step import Step as Step

    models: ModuleType
else:

    def _layers() -> list[str]:
        return import_module("minidl.layers").__all__

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return sorted({*HOMES, "models", *_layers()})
        if name in ROOMS:
            return import_module(f"minidl.{name}")
        if name in HOMES:
            home = HOMES[name]
        elif not name.startswith("_") and name in _layers():
            home = "minidl.layers"
        else:
            raise AttributeError(f"module 'minidl' has no attribute {name!r}", name=name)
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *ROOMS, *__getattr__("__all__")})


find_models()
