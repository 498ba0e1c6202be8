// The main loop on float32 units: each thread multiplies a TM x TN patch of the tile in registers.
//
// Both operands go through shared memory as [k][index], so that a thread reads its TM + TN values of
// one k as vectors of four; while one stage is multiplied, the next comes in through registers.
// Per k a thread does TM TN multiply-adds for (TM + TN) / 4 vector loads. Every sum runs over k in
// order, by fused multiply-add, whatever the tile: the same bits for every tile shape.
#pragma once
#include "gemm.cuh"

// One block's vectors of a BMN x BK tile of a source: which of them a thread carries.
//
// A line is what lies side by side in memory: BK ks of one index, or BMN indices of one k. Of a line
// along k the threads take all. Of one along the indices as few side by side as make 128 bytes, each
// several, so that most threads have one k alone to follow.
template <class Source, int BMN, int BK, int THREADS>
struct Share {
    static constexpr int V = Source::V;
    static constexpr bool K_MAJOR = Source::K_MAJOR;
    static constexpr int VECTORS = (K_MAJOR ? BK : BMN) / V;  // of one line
    static constexpr int LINES = K_MAJOR ? BMN : BK;
    static constexpr int FULL = 128 / int(V * sizeof(typename Source::Element));
    static constexpr int LEAST = THREADS / LINES > FULL ? THREADS / LINES : FULL;
    static constexpr int ACROSS = K_MAJOR || VECTORS < LEAST ? VECTORS : LEAST;
    static constexpr int STRIDE = THREADS / ACROSS;  // lines that all threads cover at once
    static constexpr int DOWN = LINES / STRIDE, OVER = VECTORS / ACROSS, COUNT = DOWN * OVER;
    static_assert(THREADS % ACROSS == 0 && LINES % STRIDE == 0 && DOWN > 0, "tile and threads");
    static_assert(VECTORS % ACROSS == 0, "whole lines");

    using Fixed = typename Source::Fixed;
    using Step = typename Source::Step;
    int line, inner;
    Fixed fixed[K_MAJOR ? DOWN : OVER];
    Step step[K_MAJOR ? OVER : DOWN];

    // From index `base` and k on.
    __device__ __forceinline__ Share(const Source& source, int base, int k) {
        line = threadIdx.x / ACROSS;
        inner = threadIdx.x % ACROSS * V;
#pragma unroll
        for (int i = 0; i < DOWN; i++) {
            if constexpr (K_MAJOR)
                fixed[i] = source.fixed(base + line_of(i));
            else
                step[i] = source.step(k + line_of(i));
        }
#pragma unroll
        for (int j = 0; j < OVER; j++) {
            if constexpr (K_MAJOR)
                step[j] = source.step(k + inner_of(j));
            else
                fixed[j] = source.fixed(base + inner_of(j));
        }
    }
    __device__ __forceinline__ int line_of(int i) const { return line + i * STRIDE; }
    __device__ __forceinline__ int inner_of(int j) const { return inner + j * ACROSS * V; }

    // f(number, line, inner, fixed, step) for each of the thread's vectors.
    template <class F>
    __device__ __forceinline__ void each(F f) const {
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < OVER; j++)
                f(i * OVER + j, line_of(i), inner_of(j), fixed[K_MAJOR ? i : j],
                  step[K_MAJOR ? j : i]);
    }
    // f(number, line, inner, there, address) for each, of a source whose elements are in memory.
    template <class F>
    __device__ __forceinline__ void each_address(const Source& source, F f) const {
        each([&](int i, int line, int inner, const Fixed& fixed, const Step& step) {
            const int more = i % OVER * ACROSS * V;  // indices from the first
            if constexpr (SIDE_BY_SIDE<Source>)
                f(i, line, inner, source.there(this->fixed[0], step, more),
                  source.at(this->fixed[0], step) + more);
            else
                f(i, line, inner, source.there(fixed, step), source.at(fixed, step));
        });
    }
    __device__ __forceinline__ void advance(const Source& source) {
#pragma unroll
        for (int i = 0; i < (K_MAJOR ? OVER : DOWN); i++) source.template advance<BK>(step[i]);
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

    __device__ __forceinline__ Held(const Source& source, int base, int k)
        : share(source, base, k) {}
    __device__ __forceinline__ void fetch(const Source& source) {
        if constexpr (Source::DIRECT) {
            using T = typename Source::Element;
            share.each_address(source, [&](int i, int, int, bool there, const T* from) {
                if (there)
                    load(at[i], from);
                else
#pragma unroll
                    for (int v = 0; v < S::V; v++) at[i][v] = 0.f;
            });
        } else {
            share.each([&](int i, int, int, const Fixed& fixed, const Step& step) {
                source.take(at[i], fixed, step);
            });
        }
        share.advance(source);
    }
};

template <int BM_, int BN_, int BK, int TM, int TN>
struct Simt {
    static constexpr int BM = BM_, BN = BN_, WIDTH = 4;
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
        using Fixed = typename Source::Fixed;
        using Step = typename Source::Step;
        held.share.each([&](int i, int line, int inner, const Fixed&, const Step&) {
            if constexpr (Source::K_MAJOR) {
#pragma unroll
                for (int v = 0; v < Source::V; v++) to[inner + v][line] = held.at[i][v];
            } else {
                store(&to[line][inner], held.at[i]);
            }
        });
    }

    template <class A, class B>
    __device__ __forceinline__ void multiply(
        const A& a, const B& b, int m0, int n0, int k0, int k1, Shared<A, B>& shared) {
        if (k0 >= k1) return;
        Stage<A, BM> from_a(a, m0, k0);
        Stage<B, BN> from_b(b, n0, k0);
        from_a.fetch(a);
        from_b.fetch(b);
        put<A, BM>(from_a, shared.a[0]);
        put<B, BN>(from_b, shared.b[0]);
        __syncthreads();
        int now = 0;
        for (int k = k0; k < k1; k += BK) {
            const bool more = k + BK < k1;
            if (more) {
                from_a.fetch(a);
                from_b.fetch(b);
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
