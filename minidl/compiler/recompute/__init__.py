"""Recomputation: forward ops that run a second time instead of keeping what they made.

`again` rewrites the graph for a given choice; `choose` makes the choice.
"""

from minidl.compiler.recompute.again import run_again
from minidl.compiler.recompute.choose import Limits, recompute

__all__ = ["Limits", "recompute", "run_again"]
