// Normalization by constants: y = (x - mean[c]) scale[c], scale = 1 / std; images of bytes or floats.
//
// The C constants (1: the same for all channels) travel as parameters.
// Grid: one thread an element. Bytes moved: x and y once each.
#include "platform.cuh"

__device__ __forceinline__ float to_float(int x) { return float(x); }
__device__ __forceinline__ float to_float(int64 x) { return float(x); }

template <class TX, class TY, int C>
struct normalize_forward {
    struct Params {
        TY* y;
        const TX* x;
        int64 rows;
        Division columns;
        int y_pitch, x_pitch;
        float mean[C], scale[C];
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 i = thread_index();
        if (i >= p.rows * p.columns.divisor) return;
        int column;
        const int64 row = p.columns.quotient(int(i), column);
        const int c = C == 1 ? 0 : column;
        const float x = to_float(p.x[row * p.x_pitch + column]);
        p.y[row * p.y_pitch + column] = from_float<TY>((x - p.mean[c]) * p.scale[c]);
    }
};

// dx = dy scale[c]: the same with a mean of 0.
template <class TX, class TY, int C>
using normalize_dgrad = normalize_forward<TX, TY, C>;
