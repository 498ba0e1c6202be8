"""The time of a launch on a card, predicted: pure functions of what the launch asks for and a card.

`Work` is what a launch asks for, `time_of` how long that takes and what bounds it, `CONSTANTS` what
is neither counted nor in the table of cards. Nothing here was measured by minidl.
"""

from minidl.roofline.constants import CONSTANTS, Constants
from minidl.roofline.counts import Count, Counts, MainLoop, Operand, Shape, read_counts
from minidl.roofline.model import BOUNDS, Time, resident, stage_clocks, time_of
from minidl.roofline.work import Epilogue, Reread, Stages, Work

__all__ = [
    "BOUNDS",
    "CONSTANTS",
    "Constants",
    "Count",
    "Counts",
    "Epilogue",
    "MainLoop",
    "Operand",
    "Reread",
    "Shape",
    "Stages",
    "Time",
    "Work",
    "read_counts",
    "resident",
    "stage_clocks",
    "time_of",
]
