"""Offsets for buffers with known lifetimes: static storage allocation in one arena.

`greedy` puts one block after the other, `repair` changes the order in which it does, `exact`
searches through all placements (`search` over `skyline`), `core` does so for the most crowded
blocks; `portfolio` tries them in turn, `table` reads and writes CSV.
"""

from minidl.compiler.place.answer import Answer, Impossible, Placed, Undecided
from minidl.compiler.place.blocks import Block, max_load, top
from minidl.compiler.place.portfolio import EFFORT, fit, lowest, place

__all__ = [
    "EFFORT",
    "Answer",
    "Block",
    "Impossible",
    "Placed",
    "Undecided",
    "fit",
    "lowest",
    "max_load",
    "place",
    "top",
]
