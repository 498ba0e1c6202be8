// Fully connected layers on the product of gemm.cuh: y = x w^T + b, dx = dy w, dw = dy^T x.
//
//   pass     M        N         K         a                    b
//   forward  samples  features  inputs    x, K-major           w, K-major
//   dgrad    samples  inputs    features  dy, K-major          w, MN-major
//   wgrad    features inputs    samples   dy, MN-major         x, MN-major
#include "simt.cuh"
#include "tensor_core.cuh"
