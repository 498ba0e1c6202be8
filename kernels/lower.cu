// count_step: the step counter lives in the arena, so that a replayed graph needs no new parameter.
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
