"""The vocabulary: tensors, ops, the step graph and the plan. Read it first."""

from minidl.ir.errors import (
    ArenaTooLargeError,
    ArgumentError,
    BudgetError,
    CheckpointError,
    LimitError,
    MinidlError,
    NotFiniteError,
    PlanError,
    ShapeError,
)
from minidl.ir.graph import Array, LayerNote, StepGraph, Variable, dependencies
from minidl.ir.op import Op, Phase
from minidl.ir.plan import ALIGNMENT, Placement, Plan, Setting
from minidl.ir.site import Lowering, Site, Trained
from minidl.ir.sizes import format_size, mib, parse_size
from minidl.ir.tensor import Box, Kind, Shape, Tensor, part_of

__all__ = [
    "ALIGNMENT",
    "ArenaTooLargeError",
    "ArgumentError",
    "Array",
    "Box",
    "BudgetError",
    "CheckpointError",
    "Kind",
    "LayerNote",
    "LimitError",
    "Lowering",
    "MinidlError",
    "NotFiniteError",
    "Op",
    "Phase",
    "Placement",
    "Plan",
    "PlanError",
    "Setting",
    "Shape",
    "ShapeError",
    "Site",
    "StepGraph",
    "Tensor",
    "Trained",
    "Variable",
    "dependencies",
    "format_size",
    "mib",
    "parse_size",
    "part_of",
]
