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

// The rows of a max-pool's data gradient that is not in memory: see Unpooled in conv2d.cu.
template <class T, int BH, int BW, int BITS>
struct UnpooledElements {
    const T* at;
    const uint8* argmax;
    int64 pitch;
    int groups, rows, columns;  // bytes of argmax in a pixel; windows down and across
    Division height, width;     // of the picture
    __device__ void take(Sum& sum, int64 index, int column) const {
        int h, w;
        const int n = height.quotient(width.quotient(int(index), w), h);
        if (h >= rows * BH || w >= columns * BW) return;
        const int64 window = (int64(n) * rows + h / BH) * columns + w / BW;
        float x[1] = {to_float(at[window * pitch + column])};
        keep_chosen<1, BITS>(x, argmax + window * groups, column, h % BH * BW + w % BW);
        sum.total += x[0];
    }
};

template <class T, int BH, int BW, int BITS>
using bias_wgrad_unpooled = ReduceColumns<Sum, UnpooledElements<T, BH, BW, BITS>, Partials<Sum>>;
template <class T>
using bias_wgrad_parts = ReduceColumns<Sum, Elements<T>, Partials<Sum>>;
using bias_wgrad = ReduceColumns<Sum, Partials<Sum>, Totals>;
