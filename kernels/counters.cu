// Counters live in the arena, so that a replayed graph needs no new parameter. One thread each.
#include "platform.cuh"

struct count_step {
    struct Params {
        int64* step;
    };
    using Shared = Nothing;
    static __device__ void run(const Params& p, Shared&) {
        if (threadIdx.x == 0) *p.step += 1;
    }
};

struct count_micro_batch {
    struct Params {
        int64* call;
        int64 calls;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        if (threadIdx.x == 0) *p.call = (*p.call + 1) % p.calls;
    }
};
