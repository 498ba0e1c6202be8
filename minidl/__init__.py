"""minidl: a mini deep-learning framework in which one training step is one planned arena."""

from minidl.checkout import import_models
from minidl.front import compile, plan
from minidl.ir import (
    ArenaTooLargeError,
    ArgumentError,
    BudgetError,
    CheckpointError,
    MinidlError,
    NotFiniteError,
    PlanError,
    ShapeError,
)
from minidl.layers import *  # noqa: F403 - the layers' published names, listed there
from minidl.layers import __all__ as _layers
from minidl.optim import SGD, Adam, AdamW, Optimizer
from minidl.options import Options
from minidl.recipe import Plan
from minidl.runtime.step import Step

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ArenaTooLargeError",
    "ArgumentError",
    "BudgetError",
    "CheckpointError",
    "MinidlError",
    "NotFiniteError",
    "Optimizer",
    "Options",
    "Plan",
    "PlanError",
    "ShapeError",
    "Step",
    "compile",
    "models",
    "plan",
    *_layers,
]

models = import_models()
