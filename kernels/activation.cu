// Activations: y = f(x) and dx = dy f'(x), equations in minidl/layers/activation.py.
// Elementwise: two or three tensors of traffic, no reuse. A gradient that is cut is +0. NaN passes a
// ReLU both ways: `x <= 0`, not `x > 0`, asks what is cut.
#include "elementwise.cuh"

struct relu_forward {
    __device__ void operator()(float& y, float x) const { y = x <= 0 ? 0.f : x; }
};
struct relu_dgrad {
    __device__ void operator()(float& dx, float dy, float y) const { dx = y <= 0 ? 0.f : dy; }
};

struct leaky_relu_forward {
    float slope;
    __device__ void operator()(float& y, float x) const { y = x > 0 ? x : x * slope; }
};
struct leaky_relu_dgrad {
    float slope;
    __device__ void operator()(float& dx, float dy, float y) const { dx = y > 0 ? dy : dy * slope; }
};

struct sigmoid_forward {
    __device__ void operator()(float& y, float x) const {
        const float decay = expf(-fabsf(x));  // at most 1: nothing overflows
        y = (x >= 0 || is_nan(x) ? 1.f : decay) / (1.f + decay);
    }
};
struct sigmoid_dgrad {
    __device__ void operator()(float& dx, float dy, float y) const { dx = dy * (y * (1.f - y)); }
};

struct tanh_forward {
    __device__ void operator()(float& y, float x) const { y = tanhf(x); }
};
struct tanh_dgrad {
    __device__ void operator()(float& dx, float dy, float y) const { dx = dy * (1.f - y * y); }
};

constexpr float SQRT_HALF = 0.70710678f, INVERSE_SQRT_2_PI = 0.39894228f;
constexpr float SQRT_2_OVER_PI = 0.79788456f, CUBIC = 0.044715f;

__device__ __forceinline__ float normal_distribution(float x) {
    return 0.5f * erfcf(-x * SQRT_HALF);
}
struct gelu_forward {
    __device__ void operator()(float& y, float x) const { y = x * normal_distribution(x); }
};
struct gelu_dgrad {
    __device__ void operator()(float& dx, float dy, float x) const {
        const float density = expf(x * x * -0.5f) * INVERSE_SQRT_2_PI;
        dx = dy * (normal_distribution(x) + x * density);
    }
};

__device__ __forceinline__ float tanh_argument(float x) {
    return SQRT_2_OVER_PI * (x + CUBIC * x * x * x);
}
struct gelu_tanh_forward {
    __device__ void operator()(float& y, float x) const {
        y = x * (0.5f + 0.5f * tanhf(tanh_argument(x)));
    }
};
struct gelu_tanh_dgrad {
    __device__ void operator()(float& dx, float dy, float x) const {
        const float t = tanhf(tanh_argument(x));
        const float inner = SQRT_2_OVER_PI * (1.f + 3.f * CUBIC * x * x);
        dx = dy * (0.5f + 0.5f * t + 0.5f * x * (1.f - t * t) * inner);
    }
};
