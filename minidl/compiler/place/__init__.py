"""Offsets for buffers with known lifetimes: static storage allocation in one arena.

`greedy` puts one block after the other, `repair` changes the order in which it does, `exact`
searches through all placements; `portfolio` tries them in turn, `table` reads and writes CSV.
"""

from minidl.compiler.place.blocks import Block, max_load, top
from minidl.compiler.place.portfolio import EFFORT, place

__all__ = ["EFFORT", "Block", "max_load", "place", "top"]
