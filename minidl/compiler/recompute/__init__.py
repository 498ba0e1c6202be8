"""Recomputation: forward ops that run a second time instead of keeping what they made.

`copies` rewrites the graph for a given choice; `choose` makes the choice.
"""

from minidl.compiler.recompute.choose import Limits, recompute
from minidl.compiler.recompute.copies import run_twice

__all__ = ["Limits", "recompute", "run_twice"]
