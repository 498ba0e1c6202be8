"""What is in an archive, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Parts = tuple[str, ...]
"""A path in an archive, part by part."""

Member = TypeVar("Member")


@dataclass(frozen=True)
class Contents(Generic[Member]):
    """All that an archive has, by path."""

    members: dict[Parts, Member] = field(default_factory=dict)
    """The files that are wanted, and what reads each; of two with one path the last."""
    others: list[Parts] = field(default_factory=list)
    """The other files, and what is neither file nor folder: links, devices, sparse files."""
    folders: list[Parts] = field(default_factory=list)
    kept: bytearray | None = None
    """The bytes of all members, of an archive that cannot be read in parts."""
