"""What one op does to arrays: the NumPy functions, one module a family, and what they share.

A function gets the written arrays, then those that are only read, then attributes as keywords. It
is the reference for every device; `minidl.ops.cuda` has the CUDA kernels of the same names.
"""
