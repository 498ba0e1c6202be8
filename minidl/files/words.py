"""Words and numbers out of a file: how an error may repeat them, and which are counts."""

from __future__ import annotations

LONGEST = 80
"""Characters of a file's own words that an error repeats."""


def shown(word: object) -> str:
    """Text out of a file, as an error may repeat it: on one line, not too long."""
    text = word if isinstance(word, str) else type(word).__name__
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def is_count(value: object) -> bool:
    """Whether it is a whole number in [0, 2^63); True and False are none."""
    return type(value) is int and 0 <= value < 2**63
