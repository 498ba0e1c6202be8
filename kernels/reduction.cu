// bias_wgrad: db[k] = sum over rows of dy[row, k], by partial sums: see reduce.cuh.
#include "pooled.cuh"
#include "reduce.cuh"

template <class T>
struct Elements {
    const T* at;
    int64 pitch;
    __device__ void take(Sum& sum, int64 row, int column) const {
        sum.total += to_float(at[row * pitch + column]);
    }
};

// The rows of a gradient that is not in memory: see Unpool in pooled.cuh.
template <class Pool>
struct UnpooledElements {
    Pool pool;
    Division height, width;  // of the image
    __device__ void take(Sum& sum, int64 row, int column) const {
        int h, w;
        float dy[1];
        const int n = height.quotient(width.quotient(int(row), w), h);
        pool.take(dy, n, h, w, column);
        sum.total += dy[0];
    }
};

template <class Pool>
using bias_wgrad_unpooled = ReduceColumns<Sum, UnpooledElements<Pool>, Partials<Sum>>;
template <class T>
using bias_wgrad_parts = ReduceColumns<Sum, Elements<T>, Partials<Sum>>;
using bias_wgrad = ReduceColumns<Sum, Partials<Sum>, Totals>;
