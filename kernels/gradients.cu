// Between gradients and updates: equations in minidl/gradients.py.
//
// sum_of_squares: each block sums the squares of its part of a weight gradient and leaves them in
// planned scratch, one block then takes the total; gradient_norm is one block over the totals of all
// parameters. The order depends on the sizes alone. Bytes moved: each weight gradient once.
// clip_gradient has the update behind it, and then moves what the update does.
#include "elementwise.cuh"
#include "reduce.cuh"

constexpr int SUMMING = 256;

struct WarpSums {
    float warps[SUMMING / 32];
};

template <class T>
struct sum_of_squares {
    struct Params {
        float* parts;
        const T* dw;
        int64 size;
        int64 elements_of_a_part;
    };
    using Shared = WarpSums;

    static __device__ void run(const Params& p, Shared& shared) {
        const int64 first = blockIdx.x * p.elements_of_a_part;
        const int64 last = min(p.size, first + p.elements_of_a_part);
        float total = 0;
#pragma unroll 4
        for (int64 i = first + threadIdx.x; i < last; i += SUMMING) {
            const float g = to_float(p.dw[i]);
            total = fmaf(g, g, total);
        }
        total = reduce_block<SUMMING>(total, shared.warps, Plus());
        if (threadIdx.x == 0) p.parts[blockIdx.x] = total;
    }
};

// The sum of from[0 .. count), by one block; the same in all threads.
__device__ __forceinline__ float block_total(const float* from, int count, WarpSums& shared) {
    float total = 0;
    for (int i = threadIdx.x; i < count; i += SUMMING) total += from[i];
    return reduce_block<SUMMING>(total, shared.warps, Plus());
}

struct total_of_parts {
    struct Params {
        float* to;
        const float* parts;
        int count;
    };
    using Shared = WarpSums;

    static __device__ void run(const Params& p, Shared& shared) {
        const float total = block_total(p.parts, p.count, shared);
        if (threadIdx.x == 0) *p.to = total;
    }
};

// A comparison, not fminf: a norm that is no number has to stay one in the coefficient.
struct gradient_norm {
    struct Params {
        float* norm;
        float* coefficient;
        const float* squares;
        int count;
        float clip_norm;
    };
    using Shared = WarpSums;

    static __device__ void run(const Params& p, Shared& shared) {
        const float norm = sqrtf(block_total(p.squares, p.count, shared));
        if (threadIdx.x) return;
        const float c = p.clip_norm / (norm + 1e-6f);
        *p.norm = norm;
        *p.coefficient = c >= 1.f ? 1.f : c;
    }
};

struct clip_gradient {
    __device__ void operator()(float& clipped, float dw, float coefficient) const {
        clipped = dw * coefficient;
    }
};

// What the sum held before the first call does not count, be it finite or not.
struct accumulate_gradient {
    float share;
    __device__ void operator()(float& sum, float dw, float call) const {
        sum = call == 0.f ? dw * share : fmaf(dw, share, sum);
    }
};
