// Reductions in a fixed order: over the columns of a matrix, and over one block's threads.
//
// reduce_columns takes rows of a matrix (rows, columns) into one accumulator a column, in two
// launches of one kernel: the first leaves one partial accumulator for each part of the rows in
// planned scratch, the second takes the partials as its rows. A block is 8 rows of 32 threads; a
// thread takes every eighth row of its part, and the block's 8 accumulators merge in order.
// No atomics: the order depends on the shapes alone. Bytes moved: the matrix once.
#pragma once
#include "platform.cuh"

constexpr int LANES = 32, LINES = 8;

// Accumulator: void merge(const Accumulator&), all zeros to begin with.
// Source: void take(Accumulator&, int64 row, int column) const.
// Sink: void give(const Accumulator&, int part, int column) const.
template <class Accumulator, class Source, class Sink>
struct ReduceColumns {
    struct Params {
        Source source;
        Sink sink;
        int64 rows;
        int64 rows_of_a_part;
        int columns;
    };
    struct Shared {
        Accumulator at[LINES][LANES];
    };

    static __device__ void run(const Params& p, Shared& shared) {
        const int lane = threadIdx.x % LANES, line = threadIdx.x / LANES;
        const int column = blockIdx.x * LANES + lane, part = blockIdx.y;
        Accumulator sum = {};
        if (column < p.columns) {
            const int64 first = part * p.rows_of_a_part;
            const int64 last = min(p.rows, first + p.rows_of_a_part);
#pragma unroll 4
            for (int64 row = first + line; row < last; row += LINES) p.source.take(sum, row, column);
        }
        shared.at[line][lane] = sum;
        __syncthreads();
        if (line || column >= p.columns) return;
        for (int other = 1; other < LINES; other++) sum.merge(shared.at[other][lane]);
        p.sink.give(sum, part, column);
    }
};

template <class Accumulator>
struct Partials {
    Accumulator* at;
    int columns;
    __device__ void take(Accumulator& sum, int64 part, int column) const {
        sum.merge(at[part * columns + column]);
    }
    __device__ void give(const Accumulator& sum, int part, int column) const {
        at[int64(part) * columns + column] = sum;
    }
};

struct Sum {
    float total;
    __device__ void merge(const Sum& other) { total += other.total; }
};

struct Totals {
    float* at;
    __device__ void give(const Sum& sum, int, int column) const { at[column] = sum.total; }
};

// The sum of `x` over all threads of a block of `threads`, in a fixed order; the same in all.
template <int THREADS, class Combine>
__device__ __forceinline__ float reduce_block(float x, float (&shared)[THREADS / 32], Combine combine) {
#pragma unroll
    for (int distance = 16; distance; distance /= 2)
        x = combine(x, __shfl_xor_sync(0xffffffffu, x, distance));
    __syncthreads();  // an earlier reduction may still be read
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; warp++) x = combine(x, shared[warp]);
    return x;
}

struct Plus {
    __device__ float operator()(float a, float b) const { return a + b; }
};
struct Larger {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
