"""The CUDA device run on the CPU: the same launches and sources, each CUDA thread a fiber."""
