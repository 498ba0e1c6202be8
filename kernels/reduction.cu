// bias_wgrad: db[k] = sum over rows of dy[row, k], by partial sums: see reduce.cuh.
#include "reduce.cuh"

template <class T>
struct Elements {
    const T* at;
    int64 pitch;
    __device__ void take(Sum& sum, int64 row, int column) const {
        sum.total += to_float(at[row * pitch + column]);
    }
};

template <class T>
using bias_wgrad_parts = ReduceColumns<Sum, Elements<T>, Partials<Sum>>;
using bias_wgrad = ReduceColumns<Sum, Partials<Sum>, Totals>;
