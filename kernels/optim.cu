// Optimizers: equations in minidl/optim.py. Elementwise over float32 master weights and state;
// the half that takes the gradient in may run in the epilogue of the op that makes it.
#include "elementwise.cuh"

__device__ __forceinline__ float decayed(float dw, float w, float weight_decay) {
    return weight_decay ? fmaf(weight_decay, w, dw) : dw;
}

struct sgd {
    float weight_decay;
    __device__ void operator()(float& w, float dw, float lr) const {
        w -= lr * decayed(dw, w, weight_decay);
    }
};
struct sgd_momentum {
    float momentum, weight_decay;
    __device__ void operator()(float& v, float w, float dw) const {
        v = fmaf(v, momentum, decayed(dw, w, weight_decay));
    }
};
struct sgd_step {
    __device__ void operator()(float& w, float v, float lr) const { w -= lr * v; }
};
struct sgd_nesterov {
    float momentum, weight_decay;
    __device__ void operator()(float& w, float& v, float dw, float lr) const {
        const float g = decayed(dw, w, weight_decay);
        v = fmaf(v, momentum, g);
        w -= lr * fmaf(momentum, v, g);
    }
};

// The complements 1 - beta come from the host: in float32 they would lose half their digits.
struct adam_moments {
    float complement1, beta2, complement2, weight_decay;
    __device__ void take(float& m, float& v, float g) const {
        m = fmaf(complement1, g - m, m);
        v = fmaf(v, beta2, complement2 * (g * g));
    }
    __device__ void operator()(float& m, float& v, float dw) const { take(m, v, dw); }
    __device__ void operator()(float& m, float& v, float w, float dw) const {
        take(m, v, decayed(dw, w, weight_decay));
    }
};
// 1 - beta^t = -expm1(t log beta), exact also where beta^t is close to 1.
struct adam_step {
    float log_beta1, log_beta2, eps, decoupled_decay;
    __device__ void operator()(float& w, float m, float v, float lr, float step) const {
        const float t = step + 1.f;
        if (decoupled_decay) w *= 1.f - lr * decoupled_decay;
        const float root = sqrtf(v) / sqrtf(-expm1f(t * log_beta2)) + eps;
        w -= (lr / -expm1f(t * log_beta1)) * (m / root);
    }
};
