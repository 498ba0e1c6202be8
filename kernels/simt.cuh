// The main loop on float32 units: each thread multiplies a TM x TN patch of the tile in registers.
//
// Both operands go through shared memory as [k][index], so that a thread reads its TM + TN values of
// one k as vectors of four; while one stage is multiplied, the next comes in through registers.
// Per k a thread does TM TN multiply-adds for (TM + TN) / 4 vector loads. Every sum runs over k in
// order, by fused multiply-add, whatever the tile: the same bits for every tile shape.
#pragma once
#include "gemm.cuh"

// One block's vectors of a BMN x BK tile of a source: which of them a thread carries.
template <class Source, int BMN, int BK, int THREADS>
struct Share {
    static constexpr int V = Source::V;
    static constexpr int INNER = (Source::K_MAJOR ? BK : BMN) / V;  // vectors of one line
    static constexpr int LINES = Source::K_MAJOR ? BMN : BK;
    static constexpr int STRIDE = THREADS / INNER;  // lines that all threads cover at once
    static constexpr int COUNT = LINES / STRIDE;
    static_assert(THREADS % INNER == 0 && LINES % STRIDE == 0 && COUNT > 0, "tile and threads");

    int line, inner;
    typename Source::Fixed fixed[Source::K_MAJOR ? COUNT : 1];

    __device__ __forceinline__ Share(const Source& source, int base) {
        line = threadIdx.x / INNER;
        inner = threadIdx.x % INNER * V;
        if constexpr (Source::K_MAJOR) {
#pragma unroll
            for (int i = 0; i < COUNT; i++) fixed[i] = source.fixed(base + line + i * STRIDE);
        } else {
            fixed[0] = source.fixed(base + inner);
        }
    }

    // f(i, fixed, step) for each of the thread's vectors of the tile at k.
    template <class F>
    __device__ __forceinline__ void each(const Source& source, int k, F f) const {
        if constexpr (Source::K_MAJOR) {
            const typename Source::Step step = source.step(k + inner);
#pragma unroll
            for (int i = 0; i < COUNT; i++) f(i, fixed[i], step);
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; i++)
                f(i, fixed[0], source.step(k + line + i * STRIDE));
        }
    }
};

// A share on its way through registers.
template <class Source, int BMN, int BK, int THREADS>
struct Held {
    using S = Share<Source, BMN, BK, THREADS>;
    using Fixed = typename Source::Fixed;
    using Step = typename Source::Step;
    S share;
    float at[S::COUNT][S::V];

    __device__ __forceinline__ Held(const Source& source, int base) : share(source, base) {}
    __device__ __forceinline__ void fetch(const Source& source, int k) {
        share.each(source, k, [&](int i, const Fixed& fixed, const Step& step) {
            take_from(source, at[i], fixed, step);
        });
    }
};

template <int BM_, int BN_, int BK, int TM, int TN, bool WHOLE_>
struct Simt {
    static constexpr int BM = BM_, BN = BN_, WIDTH = 4;
    static constexpr bool WHOLE = WHOLE_;  // whether pieces of WIDTH fit N and the addresses
    static constexpr int ACROSS = BN / TN, THREADS = BM / TM * ACROSS;
    static constexpr int PAD = 4;

    template <class A, class B>
    struct Shared {
        alignas(16) float a[2][BK][BM + PAD];
        alignas(16) float b[2][BK][BN + PAD];
    };

    float sum[TM][TN] = {};

    template <class Source, int BMN>
    using Stage = Held<Source, BMN, BK, THREADS>;

    template <class Source, int BMN>
    static __device__ __forceinline__ void put(
        const Stage<Source, BMN>& held, float (&to)[BK][BMN + PAD]) {
        using S = typename Stage<Source, BMN>::S;
#pragma unroll
        for (int i = 0; i < S::COUNT; i++) {
            const int line = held.share.line + i * S::STRIDE, inner = held.share.inner;
            if constexpr (Source::K_MAJOR) {
#pragma unroll
                for (int v = 0; v < S::V; v++) to[inner + v][line] = held.at[i][v];
            } else {
                store(&to[line][inner], held.at[i]);
            }
        }
    }

    template <class A, class B>
    __device__ __forceinline__ void multiply(
        const A& a, const B& b, int m0, int n0, int k0, int k1, Shared<A, B>& shared) {
        if (k0 >= k1) return;
        Stage<A, BM> from_a(a, m0);
        Stage<B, BN> from_b(b, n0);
        from_a.fetch(a, k0);
        from_b.fetch(b, k0);
        put<A, BM>(from_a, shared.a[0]);
        put<B, BN>(from_b, shared.b[0]);
        __syncthreads();
        int now = 0;
        for (int k = k0; k < k1; k += BK) {
            const bool more = k + BK < k1;
            if (more) {
                from_a.fetch(a, k + BK);
                from_b.fetch(b, k + BK);
            }
            multiply_stage(shared.a[now], shared.b[now]);
            now ^= 1;
            if (more) {
                put<A, BM>(from_a, shared.a[now]);
                put<B, BN>(from_b, shared.b[now]);
            }
            __syncthreads();
        }
    }

    __device__ __forceinline__ void multiply_stage(
        const float (&a)[BK][BM + PAD], const float (&b)[BK][BN + PAD]) {
#pragma unroll
        for (int k = 0; k < BK; k++) {
            float of_a[TM / 4][4], of_b[TN / 4][4];
#pragma unroll
            for (int i = 0; i < TM / 4; i++) load(of_a[i], &a[k][row(i)]);
#pragma unroll
            for (int j = 0; j < TN / 4; j++) load(of_b[j], &b[k][column(j)]);
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++)
                    sum[i][j] = fmaf(of_a[i / 4][i % 4], of_b[j / 4][j % 4], sum[i][j]);
        }
    }

    // First row of the thread's i-th four rows, first column of its j-th four columns.
    static __device__ __forceinline__ int row(int i) {
        return i * (BM / (TM / 4)) + threadIdx.x / ACROSS * 4;
    }
    static __device__ __forceinline__ int column(int j) {
        return j * (BN / (TN / 4)) + threadIdx.x % ACROSS * 4;
    }

    template <class F>
    __device__ __forceinline__ void each_piece(F f) {
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int j = 0; j < TN / 4; j++) {
                Lane<4> piece = {{sum[i][4 * j], sum[i][4 * j + 1], sum[i][4 * j + 2], sum[i][4 * j + 3]}};
                f(row(i / 4) + i % 4, column(j), piece);
            }
    }
};
