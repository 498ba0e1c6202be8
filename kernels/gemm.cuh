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
// The *epilogue* then passes the tile through shared memory, some rows at a time: each thread owns V
// neighbours of a few rows, loads all that the op behind needs for them, and only then stores.
//
// Grid: x is the tiles, in the order of Raster; z is (group, split). With several splits each takes its
// share of k and writes its sums to planned scratch, and sum_splits adds them in order. Bytes moved by
// a block: (BM + BN) K elements in, BM BN out.
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
        if constexpr (KMAJOR && V == 1)  // many indices: their addresses find no room in registers
            return {data + min(index, size - 1) * pitch, 1};
        else if constexpr (KMAJOR)
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
    __device__ __forceinline__ bool there(
        const Fixed& fixed, const Step& step, int more = 0) const {
        return fixed.left > more && step.k < depth;
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

    // Of some columns; without a bias -0, which changes no number.
    template <int V>
    __device__ __forceinline__ Lane<V> bias_of(int column) const {
        Lane<V> found;
#pragma unroll
        for (int v = 0; v < V; v++) found.at[v] = bias ? bias[column + v] : -0.f;
        return found;
    }
};

// Rows of the result that a sink makes one of.
template <class Sink>
constexpr int ROWS_OF_ONE = 1;
template <int H, int W, int BITS, class T, class Sink, int WIDTH>
constexpr int ROWS_OF_ONE<Pooled<H, W, BITS, T, Sink, WIDTH>> = H * W;

// Whether of an MN-major source index i + 1 lies beside index i, whatever k is: then it also says
// whether an index some `more` further on is there.
template <class Source>
constexpr bool SIDE_BY_SIDE = false;
template <class T, int V>
constexpr bool SIDE_BY_SIDE<Matrix<T, V, false>> = true;

// Whether a source is staged.
template <class Source>
constexpr bool STAGED = false;

// The order of the tiles, in which their blocks start: bands of some tiles of m one after the other, in
// a band all m for the first n, then for the next. Blocks that run at once so share both operands: what
// one has brought into the L2 cache is still there when the next reads it.
struct Raster {
    Division band;          // tiles of a whole band
    Division whole, last;   // tiles of m of a whole band, and of the last one
    int bands;

    __device__ __forceinline__ void tile(int block, int& m, int& n) const {
        int inside;
        const int number = band.quotient(block, inside);
        const Division& rows = number + 1 < bands ? whole : last;
        n = rows.quotient(inside, m);
        m += number * whole.divisor;
    }
};

// Some rows of a tile in shared memory, and where each belongs. Neighbours of four are swapped in every
// other row, and in every other 32 columns: the threads of a warp that write, two or four columns each
// of eight rows, and those that read, eight columns each, find themselves in different banks.
template <int ROWS, int COLUMNS>
struct TileRows {
    static constexpr int PITCH = COLUMNS + 8;
    alignas(16) float data[ROWS * PITCH];

    static __device__ __forceinline__ int place(int row, int column) {
        return row * PITCH + (column ^ (column / 32 + row) % 2 * 4);
    }
    template <int V>
    __device__ __forceinline__ void put(int row, int column, const Lane<V>& piece) {
        store(data + place(row, column), piece.at);
    }
    template <int V>
    __device__ __forceinline__ void get(Lane<V>& piece, int row, int column) const {
        constexpr int WIDTH = V < 4 ? V : 4;
#pragma unroll
        for (int first = 0; first < V; first += WIDTH) {
            float part[WIDTH];
            load(part, data + place(row, column + first));
#pragma unroll
            for (int i = 0; i < WIDTH; i++) piece.at[first + i] = part[i];
        }
    }
    // The row of the result, in what is left of the line.
    __device__ __forceinline__ int64& target(int row) {
        return *reinterpret_cast<int64*>(data + row * PITCH + COLUMNS);
    }
};

// V: columns that one thread hands on at once.
template <class MainLoop, class A, class B, class Sink, class RowMap, int V>
struct Gemm {
    struct Params {
        A a;
        B b;
        Result<Sink> result;
        RowMap rows;
        int m, n, k;
        int k_of_a_split;  // a multiple of BK; at least k without splits
        Division splits;
        Raster raster;
    };
    using Shared = typename MainLoop::template Shared<A, B>;
    static constexpr int BM = MainLoop::BM, BN = MainLoop::BN;

    static __device__ void run(const Params& p, Shared& shared) {
        int split;
        const int group = p.splits.quotient(int(blockIdx.z), split);
        A a = p.a;
        B b = p.b;
        a.enter(group);
        b.enter(group);
        int m0, n0;
        p.raster.tile(blockIdx.x, m0, n0);
        m0 *= BM;
        n0 *= BN;
        const int k0 = split * p.k_of_a_split, k1 = min(p.k, k0 + p.k_of_a_split);
        MainLoop tile;
        if constexpr (STAGED<A>) stage(a, m0, m0 + BM, shared);
        if constexpr (STAGED<B>) {
            for (int k = k0, end; k < k1; k = end) {
                end = min(k1, b.after(k));
                stage(b, k, end, shared);
                tile.multiply(a, b, m0, n0, k, end, shared);
            }
        } else {
            tile.multiply(a, b, m0, n0, k0, k1, shared);
        }
        give(p, tile, group, m0, n0, shared);
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

    // Rows of the tile that find room at once in what the main loop needs no more.
    static constexpr int FIT = sizeof(Shared) / sizeof(TileRows<1, BN>);
    static constexpr int ROWS = FIT >= BM ? BM : FIT >= BM / 2 ? BM / 2 : BM / 4;
    static_assert(FIT >= ROWS, "room for a quarter");

    // The tile by way of shared memory, so that a thread has whole vectors of few rows.
    static __device__ __forceinline__ void give(
        const Params& p, MainLoop& tile, int group, int m0, int n0, Shared& shared) {
        auto& rows = reinterpret_cast<TileRows<ROWS, BN>&>(shared);
        const int column = threadIdx.x % (BN / V) * V;
        const int result_column = n0 + column + group * p.result.column_step;
        const bool exists = n0 + column < p.n;
        Lane<V> bias = {};
        if (exists) bias = p.result.template bias_of<V>(result_column);
#pragma unroll 1
        for (int first = 0; first < BM; first += ROWS) {
            __syncthreads();
            tile.each_piece([&](int m, int n, const Lane<MainLoop::WIDTH>& piece) {
                if (m >= first && m < first + ROWS) rows.put(m - first, n, piece);
            });
            for (int row = threadIdx.x; row < ROWS; row += MainLoop::THREADS)
                rows.target(row) = target(p, group, m0 + first + row);
            __syncthreads();
            if (exists) give_rows(p, rows, bias, column, result_column);
        }
    }

    // Row m's of the output, or a negative number: none.
    static __device__ __forceinline__ int64 target(const Params& p, int group, int m) {
        const int64 row = m < p.m ? p.rows(m) : -1;
        return row < 0 ? row : row + int64(group) * p.result.row_step;
    }

    static __device__ __forceinline__ void give_rows(
        const Params& p, TileRows<ROWS, BN>& rows, const Lane<V>& bias, int column,
        int result_column) {
        constexpr int TAPS = ROWS_OF_ONE<Sink>, STRIDE = MainLoop::THREADS / (BN / V) * TAPS;
        // What is held at once fits into half of the registers that the sums had.
        constexpr int HELD = BM * BN / MainLoop::THREADS / 2, MANY = HELD / (V * TAPS);
        constexpr int N = MANY < 1 ? 1 : MANY > 4 ? 4 : MANY;
        static_assert(ROWS % TAPS == 0, "whole windows");
#pragma unroll 1
        for (int row = threadIdx.x / (BN / V) * TAPS; row < ROWS; row += STRIDE * N) {
            Places<N> at;
            Lane<V> piece[N * TAPS];
            at.column = result_column;
#pragma unroll
            for (int n = 0; n < N; n++) {
                const int own = row + n * STRIDE;
                at.there[n] = own < ROWS;
                if (at.there[n]) at.row[n] = rows.target(own);
                at.there[n] = at.there[n] && at.row[n] >= 0;
                if (!at.there[n]) continue;
#pragma unroll
                for (int tap = 0; tap < TAPS; tap++) {
                    Lane<V>& x = piece[n * TAPS + tap];
                    rows.get(x, own + tap, column);
#pragma unroll
                    for (int v = 0; v < V; v++) x.at[v] += bias.at[v];
                }
            }
            p.result.sink.give_all(piece, at);
        }
    }
};

// A row map says which row of the output row m of the result is; -1: none.

struct SameRow {
    int64 split_rows;  // rows between the sums of one (group, split) and the next
    __device__ __forceinline__ int64 operator()(int m) const {
        return m + blockIdx.z * split_rows;
    }
};

// TAPS rows are one window (pooled.cuh).
template <int TAPS>
struct EachWindow {
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
        const Lane<V> bias = p.result.template bias_of<V>(column);
#pragma unroll
        for (int v = 0; v < V; v++) total.at[v] += bias.at[v];
        p.result.sink.give(total, row + int64(group) * p.result.row_step, column);
    }
};
