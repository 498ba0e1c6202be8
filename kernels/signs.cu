// Packed signs: bit i of `signs`, most significant first, tells whether element i of y is positive or
// NaN: what a ReLU's gradient passes.
//
// Grid: one thread for the 8 elements of a byte, or for V elements of keep_positive.
// Bytes moved: y once, an eighth of its elements written; backward dy and dx once each.
#include "elementwise.cuh"

// Where element i, counted row by row, lies: rows of `columns` elements, `pitch` apart.
struct Rows {
    int pitch;
    Division columns;
    __device__ __forceinline__ int64 offset(int64 i) const {
        if (pitch == columns.divisor) return i;
        int column;
        const int row = columns.quotient(int(i), column);
        return int64(row) * pitch + column;
    }
};

template <class T, int V>
struct pack_signs {
    struct Params {
        uint8* signs;
        const T* y;
        int64 size;
        Rows rows;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 first = thread_index() * 8;
        if (first >= p.size) return;
        uint32 bits = 0;
        for (int j = 0; j < 8 && first + j < p.size; j += V) {
            float y[V];
            load(y, p.y + p.rows.offset(first + j));
#pragma unroll
            for (int v = 0; v < V; v++) bits |= uint32(!(y[v] <= 0)) << (7 - j - v);
        }
        p.signs[first / 8] = uint8(bits);
    }
};

template <class T, int V>
struct keep_positive {
    struct Params {
        T* dx;
        const T* dy;
        const uint8* signs;
        int64 size;
        Rows to, from;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 first = thread_index() * V;
        if (first >= p.size) return;
        const uint32 bits = p.signs[first / 8] << (first % 8);
        float x[V];
        load(x, p.dy + p.from.offset(first));
#pragma unroll
        for (int v = 0; v < V; v++) x[v] = bits >> (7 - v) & 1 ? x[v] : 0.f;
        store(p.dx + p.to.offset(first), x);
    }
};
