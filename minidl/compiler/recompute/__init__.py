"""Recomputation: forward ops that run a second time instead of keeping what they made.

`units` says which ops can, `copies` rewrites the graph for a given choice, `model` says what a
choice needs without making its graph, `search` walks over choices, `choose` says which are left.
"""

from minidl.compiler.recompute.choose import SHARES, Chooser, Front
from minidl.compiler.recompute.copies import run_twice
from minidl.compiler.recompute.search import Choice

__all__ = ["SHARES", "Choice", "Chooser", "Front", "run_twice"]
