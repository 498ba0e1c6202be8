// Smooth activations: equations in layers.py. Elementwise; swish has a parameter for each channel,
// whose gradient is a sum over rows in a fixed order. Bytes moved: each operand once.
#include "elementwise.cuh"
#include "reduce.cuh"

struct softplus_forward {
    float beta;
    __device__ void operator()(float& y, float x) const {
        const float z = beta * x;
        y = (log1pf(expf(-fabsf(z))) + (z > 0 ? z : 0.f)) / beta;
    }
};
struct softplus_dgrad {
    float beta;
    __device__ void operator()(float& dx, float dy, float y) const { dx = dy * -expm1f(-beta * y); }
};

__device__ __forceinline__ float logistic(float z) {
    const float decay = expf(-fabsf(z));  // at most 1: nothing overflows
    return (z >= 0 ? 1.f : decay) / (1.f + decay);
}
struct swish_forward {
    __device__ void operator()(float& y, float x, float beta) const { y = x * logistic(beta * x); }
};
struct swish_dgrad {
    __device__ void operator()(float& dx, float dy, float x, float beta) const {
        const float z = beta * x, s = logistic(z);
        dx = dy * (s + z * s * (1.f - s));
    }
};

template <class T>
struct SwishSlopes {
    const T *dy, *x;
    const float* beta;
    int64 pitch;
    __device__ void take(Sum& sum, int64 row, int column) const {
        const int64 i = row * pitch + column;
        const float value = to_float(x[i]), s = logistic(beta[column] * value);
        sum.total += to_float(dy[i]) * value * value * s * (1.f - s);
    }
};

template <class T>
using swish_wgrad_parts = ReduceColumns<Sum, SwishSlopes<T>, Partials<Sum>>;
using swish_wgrad = ReduceColumns<Sum, Partials<Sum>, Totals>;
