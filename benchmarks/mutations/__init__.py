"""Do the tests notice a fault? Faults drawn from a seed, and the tests run on each.

    python -m benchmarks.mutations draw SEED [--count layers=20 ...]
    python -m benchmarks.mutations run LIST --out RESULT [--known BEFORE [--found]]
    python -m benchmarks.mutations compare BEFORE AFTER

`draw` writes a list of faults: a changed operator, a number off by one, a condition turned round, a
statement left out. `run` makes one fault after the other in a copy of the tree, runs the tests that
concern its file, and writes a line a fault as soon as it is known. `compare` says which faults were
found in BEFORE and no longer are in AFTER. A fault is known by its statement, not by its line, so a
list outlives changes elsewhere in its file.
"""
