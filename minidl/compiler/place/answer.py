"""What a search for a placement says: it fits, it is proven not to fit, or it is not decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placed:
    """An offset for each block, all within the height."""

    offsets: list[int]
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Impossible:
    """No placement has that height: the search went through all of them, or `why` it need not."""

    why: str
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Undecided:
    """The nodes were used up; there may be a placement or none."""

    nodes: int


Answer = Placed | Impossible | Undecided
