"""Tests and measurements on a machine with a GPU: `python -m benchmarks.gpu --out DIR`."""
