"""Numbers that more than one reader has to know."""

SEEDS = 2**64
"""Each whole number below is a seed with random numbers of its own."""
