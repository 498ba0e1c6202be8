"""A package of someone else: layers with NumPy functions and CUDA kernels of their own."""
