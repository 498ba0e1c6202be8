// The matrix product that convolution and fully connected layers share:
//
//     result[m, n] = sum over k of a[m, k] b[n, k],    0 <= m < M, 0 <= n < N, 0 <= k < K
//
// Neither matrix need exist: a *source* says where element (m, k) or (n, k) lies in memory, so that
// a convolution is a product of patches that nobody has gathered (implicit GEMM: Chetlur et al.,
// cuDNN: efficient primitives for deep learning, 2014).
//
// A source is a class of K-major vectors (V elements side by side along k) or of MN-major ones
// (side by side along m or n):
//
//     using Element;  static constexpr int V;  static constexpr bool K_MAJOR;
//     Fixed fixed(int index) const;       // what follows from m or n alone, made once
//     Step step(int k) const;             // what follows from k alone, made once
//     void advance<BK>(Step&) const;      // the step BK further on: one stage, without a division
//     bool there(const Fixed&, const Step&) const;            // else the elements are zeros
//     const Element* at(const Fixed&, const Step&) const;     // to be read only where they are there
//
// Beyond the last k are zeros. Beyond the last index may be the elements of any that exists: what
// they add up to is no part of the result.
//
// A DIRECT source's elements are in memory as they are needed; one that is not, computes them on the
// way: take(float (&)[V], const Fixed&, const Step&) in place of there and at.
//
// A STAGED source has the block copy to shared memory first what some of its pixels need (Staged in
// conv2d.cu): those of the tile, or, where pixels are summed over, `STAGED` of them after another.
//
// A *main loop* (simt.cuh, tensor_core.cuh) computes one BM x BN tile of the result in the registers
// of a block and hands it out in pieces of `WIDTH` neighbours along n. Another main loop needs no
// change here.
//
// Grid: x and y are tiles of M and N; z is (group, split). With several splits each takes its share
// of k and writes its sums to planned scratch, and sum_splits adds them in order. Bytes moved by a
// block: (BM + BN) K elements in, BM BN out.
#pragma once
#include "pooled.cuh"

// Rows of a matrix in memory: element (index, k) at [index * pitch + k], or, MN-major,
// [k * pitch + index]. A group is a part of the columns or rows, `group_step` elements on.
template <class T, int VECTOR, bool KMAJOR>
struct Matrix {
    using Element = T;
    static constexpr int V = VECTOR;
    static constexpr bool K_MAJOR = KMAJOR, DIRECT = true;
    const T* data;
    int64 pitch, group_step;
    int size, depth;  // indices and ks that exist

    struct Fixed {
        const T* at;
        int left;  // indices that exist from this one on
    };
    struct Step {
        int k;
        int64 at;
    };
    __device__ __forceinline__ void enter(int group) { data += group * group_step; }
    __device__ __forceinline__ Fixed fixed(int index) const {
        if constexpr (KMAJOR)
            return {opaque(data + min(index, size - 1) * pitch), 1};
        else
            return {opaque(data + index), opaque(size - index)};
    }
    __device__ __forceinline__ Step step(int k) const { return {k, KMAJOR ? k : k * pitch}; }
    template <int BK>
    __device__ __forceinline__ void advance(Step& step) const {
        step.k += BK;
        step.at += KMAJOR ? BK : BK * pitch;
    }
    __device__ __forceinline__ bool there(const Fixed& fixed, const Step& step) const {
        return fixed.left > 0 && step.k < depth;
    }
    __device__ __forceinline__ const T* at(const Fixed& fixed, const Step& step) const {
        return fixed.at + (KMAJOR ? step.k : step.at);
    }
};

// A count in three digits, the last the fastest: the (r, s, c) of a tap, the (n, p, q) of a pixel.
struct Digits {
    int high, middle, low;
};

// How many values the lower digits have, and how a count moves by one stage: digit by digit, without a
// division. Each runs over once at most.
struct Radix {
    Division middle, low;
    Digits stage;  // BK in digits, the higher two plus 1

    __device__ __forceinline__ Digits digits(int count) const {
        Digits found;
        found.high = middle.quotient(low.quotient(count, found.low), found.middle);
        return found;
    }
    __device__ __forceinline__ void advance(Digits& digits) const {
        const int low_left = over(digits.low += stage.low, low.divisor);
        const int middle_left = over(digits.middle += stage.middle + low_left, middle.divisor);
        digits.high += stage.high + middle_left;
    }
    // Takes `size` from a digit that has run over: 0 then, else -1. By arithmetic, which no compiler
    // turns into branches: what is less than 0 is more than everything as a number without a sign.
    static __device__ __forceinline__ int over(int& digit, int size) {
        const int rest = digit - size;
        digit = int(min(uint32(digit), uint32(rest)));
        return rest >> 31;
    }
};

// What becomes of the result: bias, then the sink; where row m and column n of it lie.
template <class Sink>
struct Result {
    Sink sink;
    const float* bias;  // or null
    int row_step, column_step;  // of a group

    // `columns` of the result exist from `column` on.
    template <int V>
    __device__ __forceinline__ void add_bias(Lane<V>& piece, int column, int columns) const {
        if (!bias) return;
#pragma unroll
        for (int v = 0; v < V; v++)
            if (v < columns) piece.at[v] += bias[column + v];
    }
};

// Whether a sink takes windows of rows in place of rows.
template <class Sink>
constexpr bool TAKES_WINDOWS = false;
template <int H, int W, int BITS, class T, class Sink>
constexpr bool TAKES_WINDOWS<Pooled<H, W, BITS, T, Sink>> = true;

// Whether of an MN-major source index i + 1 lies beside index i, whatever k is.
template <class Source>
constexpr bool SIDE_BY_SIDE = false;
template <class T, int V>
constexpr bool SIDE_BY_SIDE<Matrix<T, V, false>> = true;

// Whether a source is staged.
template <class Source>
constexpr bool STAGED = false;

template <class MainLoop, class A, class B, class Sink, class RowMap>
struct Gemm {
    struct Params {
        A a;
        B b;
        Result<Sink> result;
        RowMap rows;
        int m, n, k;
        int k_of_a_split;  // a multiple of BK; at least k without splits
        Division splits;
    };
    using Shared = typename MainLoop::template Shared<A, B>;

    static __device__ void run(const Params& p, Shared& shared) {
        int split;
        const int group = p.splits.quotient(int(blockIdx.z), split);
        A a = p.a;
        B b = p.b;
        a.enter(group);
        b.enter(group);
        const int m0 = blockIdx.x * MainLoop::BM, n0 = blockIdx.y * MainLoop::BN;
        const int k0 = split * p.k_of_a_split, k1 = min(p.k, k0 + p.k_of_a_split);
        MainLoop tile;
        if constexpr (STAGED<A>) stage(a, m0, m0 + MainLoop::BM, shared);
        if constexpr (STAGED<B>) {
            for (int k = k0, end; k < k1; k = end) {
                end = min(k1, b.after(k));
                stage(b, k, end, shared);
                tile.multiply(a, b, m0, n0, k, end, shared);
            }
        } else {
            tile.multiply(a, b, m0, n0, k0, k1, shared);
        }
        if constexpr (TAKES_WINDOWS<Sink>) {
            give_windows(p, tile, m0, n0, reinterpret_cast<float*>(&shared));
        } else {
            tile.each_piece([&](int m, int n, Lane<MainLoop::WIDTH>& piece) {
                if (m0 + m < p.m && n0 + n < p.n) give(p, group, split, m0 + m, n0 + n, piece);
            });
        }
    }

    // What pixels [first, last) of a source need, behind the main loop's own shared memory.
    template <class Source>
    static __device__ __forceinline__ void stage(
        Source& source, int first, int last, Shared& shared) {
        static_assert(sizeof(Shared) % 16 == 0, "copies of 16 bytes");
        __syncthreads();
        source.template stage<MainLoop::THREADS>(first, last, &shared + 1);
        wait_copies<0>();
        __syncthreads();
    }

    // The tile by way of shared memory, which the main loop needs no more: see pooled.cuh.
    static __device__ __forceinline__ void give_windows(
        const Params& p, MainLoop& tile, int m0, int n0, float* rows) {
        constexpr int ROWS = 32, PITCH = MainLoop::BN + 4;
        static_assert(sizeof(float) * ROWS * PITCH <= sizeof(Shared), "room for some rows");
        for (int first = 0; first < MainLoop::BM; first += ROWS) {
            __syncthreads();
            tile.each_piece([&](int m, int n, Lane<MainLoop::WIDTH>& piece) {
                if (m < first || m >= first + ROWS) return;
                p.result.add_bias(piece, n0 + n, p.n - n0 - n);
                store(rows + (m - first) * PITCH + n, piece.at);
            });
            __syncthreads();
            p.result.sink.template give_windows<ROWS, MainLoop::BN, MainLoop::THREADS, MainLoop::WHOLE>(
                rows, PITCH, m0 + first, n0, p.m, p.n, p.rows);
        }
    }

    template <int V>
    static __device__ __forceinline__ void give(
        const Params& p, int group, int split, int m, int n, Lane<V>& piece) {
        const int column = n + group * p.result.column_step;
        p.result.add_bias(piece, column, p.n - n);
        const int64 row = p.rows(m);
        if constexpr (RowMap::PARTIAL)
            if (row < 0) return;
        store_piece(p.result.sink, row + int64(group) * p.result.row_step, column, piece, p.n - n);
    }

    // Whole pieces where N and the addresses allow; one by one elsewhere.
    template <int V>
    static __device__ __forceinline__ void store_piece(
        const Sink& sink, int64 row, int column, const Lane<V>& piece, int left) {
        if constexpr (MainLoop::WHOLE) {
            sink.give(piece, row, column);
        } else {
#pragma unroll
            for (int v = 0; v < V; v++)
                if (v < left) sink.give(Lane<1>{{piece.at[v]}}, row, column + v);
        }
    }
};

// A row map says which row of the output row m of the result is; a PARTIAL one may say -1: none.

struct SameRow {
    static constexpr bool PARTIAL = false;
    int64 split_rows;  // rows between the sums of one (group, split) and the next
    __device__ __forceinline__ int64 operator()(int m) const {
        return m + blockIdx.z * split_rows;
    }
};

// TAPS rows are one window (pooled.cuh).
template <int TAPS>
struct EachWindow {
    static constexpr bool PARTIAL = false;
    __device__ __forceinline__ int64 operator()(int m) const { return m / TAPS; }
};

// result[m, n] = bias[n] + the sums of all splits, in order.
template <int V, class Sink>
struct sum_splits {
    struct Params {
        Result<Sink> result;
        const float* sums;
        int rows, splits, groups;
        Division vectors;  // of one row
        int n;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 index = thread_index();
        if (index >= int64(p.rows) * p.vectors.divisor) return;
        int vector;
        const int row = p.vectors.quotient(int(index), vector);
        const int n = vector * V, group = blockIdx.y, column = n + group * p.result.column_step;
        Lane<V> total = {};
        for (int split = 0; split < p.splits; split++) {
            float part[V];
            load(part, p.sums + ((int64(group) * p.splits + split) * p.rows + row) * p.n + n);
#pragma unroll
            for (int v = 0; v < V; v++) total.at[v] += part[v];
        }
        p.result.add_bias(total, column, V);
        p.result.sink.give(total, row + int64(group) * p.result.row_step, column);
    }
};
