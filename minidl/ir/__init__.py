"""The vocabulary: tensors, ops and the step graph. Read it first."""

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
from minidl.ir.graph import Array, LayerNote, StepGraph, Variable, dependencies, followers
from minidl.ir.how import How, Target
from minidl.ir.op import Contract, Fusion, Op, Phase, Takes
from minidl.ir.site import Lowering, Site, Trained
from minidl.ir.sizes import format_size, mib, parse_size
from minidl.ir.tensor import Box, Kind, Shape, Tensor, part_of

__all__ = [
    "ArenaTooLargeError",
    "ArgumentError",
    "Array",
    "Box",
    "BudgetError",
    "CheckpointError",
    "Contract",
    "Fusion",
    "How",
    "Kind",
    "LayerNote",
    "LimitError",
    "Lowering",
    "MinidlError",
    "NotFiniteError",
    "Op",
    "Phase",
    "PlanError",
    "Shape",
    "ShapeError",
    "Site",
    "StepGraph",
    "Takes",
    "Target",
    "Tensor",
    "Trained",
    "Variable",
    "dependencies",
    "followers",
    "format_size",
    "mib",
    "parse_size",
    "part_of",
]
