"""Tests of how ops run as CUDA kernels, as data."""
