// Losses and their gradients: equations in minidl/layers/loss.py.
//
// softmax_cross_entropy: one block a sample reads its logits, keeps the probabilities and leaves the
// sample's loss in planned scratch; a block then takes the mean in a fixed order. The row's maximum
// is subtracted from every exponent, so that none overflows; a logit of -infinity has probability 0.
// A label that is no class reads nothing: the sample's loss and its gradient are NaN. Bytes moved:
// logits and probabilities once (from the second-level cache a second time).
#include "elementwise.cuh"
#include "reduce.cuh"

constexpr int THREADS = 128;

__device__ __forceinline__ bool is_class(int64 label, int classes) {
    return uint64(label) < uint64(classes);
}

template <class T>
struct softmax_cross_entropy_forward {
    struct Params {
        float* probabilities;
        float* losses;
        const T* logits;
        const int64* labels;
        int classes;
        float label_smoothing;
    };
    struct Shared {
        float warps[THREADS / 32];
    };

    static __device__ void run(const Params& p, Shared& shared) {
        const int64 first = int64(blockIdx.x) * p.classes;
        const T* logits = p.logits + first;
        float largest = -infinity(), total = 0, sum = 0;
        for (int k = threadIdx.x; k < p.classes; k += THREADS)
            largest = fmaxf(largest, to_float(logits[k]));
        largest = reduce_block<THREADS>(largest, shared.warps, Larger());
        for (int k = threadIdx.x; k < p.classes; k += THREADS) {
            const float x = to_float(logits[k]) - largest;
            total += expf(x);
            sum += x;
        }
        total = reduce_block<THREADS>(total, shared.warps, Plus());
        sum = reduce_block<THREADS>(sum, shared.warps, Plus());
        if (threadIdx.x == 0) p.losses[blockIdx.x] = logf(total) - expected(p, logits, largest, sum);
        __syncthreads();  // the label's logit is read before probabilities may lie over it
        for (int k = threadIdx.x; k < p.classes; k += THREADS)
            p.probabilities[first + k] = expf(to_float(logits[k]) - largest) / total;
    }

    // The expectation of a logit less `largest` under the target; `sum` is that of all of them.
    static __device__ __forceinline__ float expected(
        const Params& p, const T* logits, float largest, float sum) {
        const int64 label = p.labels[blockIdx.x];
        if (!is_class(label, p.classes)) return infinity() - infinity();
        const float e = p.label_smoothing, wanted = to_float(logits[label]) - largest;
        if (e == 0.f) return wanted;  // 0 times a sum of -infinity is NaN
        return (1.f - e) * wanted + e * (sum / p.classes);
    }
};

// to = scale sum of from[0 .. count), by one block.
struct mean {
    struct Params {
        float* to;
        const float* from;
        int count;
        float scale;
    };
    struct Shared {
        float warps[THREADS / 32];
    };

    static __device__ void run(const Params& p, Shared& shared) {
        float total = 0;
        for (int i = threadIdx.x; i < p.count; i += THREADS) total += p.from[i];
        total = reduce_block<THREADS>(total, shared.warps, Plus());
        if (threadIdx.x == 0) *p.to = total * p.scale;
    }
};

template <class T>
struct softmax_cross_entropy_dgrad {
    struct Params {
        T* dlogits;
        const float* probabilities;
        const int64* labels;
        int64 size;
        Division classes;
        float off_target, on_target, samples;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 i = thread_index();
        if (i >= p.size) return;
        int k;
        const int sample = p.classes.quotient(int(i), k);
        const int64 label = p.labels[sample];
        float d = p.probabilities[i] - p.off_target;
        if (k == label) d -= p.on_target;
        if (!is_class(label, p.classes.divisor)) d = infinity() - infinity();
        p.dlogits[i] = from_float<T>(d / p.samples);
    }
};

// One block sums the squares of its part of the elements.
template <class T>
struct mse_forward {
    struct Params {
        float* parts;
        const T* prediction;
        const T* target;
        int64 size;
        int64 elements_of_a_part;
    };
    struct Shared {
        float warps[THREADS / 32];
    };

    static __device__ void run(const Params& p, Shared& shared) {
        const int64 first = blockIdx.x * p.elements_of_a_part;
        const int64 last = min(p.size, first + p.elements_of_a_part);
        float total = 0;
        for (int64 i = first + threadIdx.x; i < last; i += THREADS) {
            const float d = to_float(p.prediction[i]) - to_float(p.target[i]);
            total = fmaf(d, d, total);
        }
        total = reduce_block<THREADS>(total, shared.warps, Plus());
        if (threadIdx.x == 0) p.parts[blockIdx.x] = total;
    }
};

struct mse_dgrad {
    float scale;
    __device__ void operator()(float& dx, float prediction, float target) const {
        dx = (prediction - target) * scale;
    }
};
