// The main loop on tensor cores of sm_80 and up: mma.sync fed by a pipeline of cp.async stages.
//
// A block's warps share a BM x BN tile, each owns WM x WN of it. Operands lie in shared memory as they
// lie in global memory, K-major or MN-major, with lines padded so that the eight rows of a matrix that
// ldmatrix reads are in eight different groups of banks. What is float32 there (weights; everything
// in TF32) is rounded when a fragment is loaded: no copy of the weights in another type exists.
//
// STAGES - 1 tiles are under way while one is multiplied; one barrier a tile: it says both that the
// tile has arrived and that the stage which the next copy overwrites is no longer read.
// A source that computes its elements comes through registers: loaded before a tile is multiplied,
// put in its stage behind.
//
// Sums are float32. Their order over k is that of the tensor cores, the same for every tile shape.
#pragma once
#include "simt.cuh"

// A BMN x BK tile in shared memory, in the order that its source has in global memory.
template <class Source, int BMN, int BK>
struct SharedTile {
    using T = typename Source::Element;
    static constexpr bool K_MAJOR = Source::K_MAJOR;
    static constexpr int PITCH = K_MAJOR ? BK + 16 / int(sizeof(T)) : BMN + 8;
    alignas(16) T data[(K_MAJOR ? BMN : BK) * PITCH];

    // Linear: places of fragments lie constants apart.
    static __device__ __forceinline__ int place(int line, int inner) { return line * PITCH + inner; }
    static __device__ __forceinline__ int of(int index, int k) {
        return K_MAJOR ? place(index, k) : place(k, index);
    }
};

// A unit says for a 16 x K fragment of a, and for two neighbouring K x 8 fragments of b, what of a tile
// a lane reads first (index and k), and loads them, `from` being the address of that.

// bf16 products of 16 ks; elements that are float32 are rounded on the way.
struct Bf16 {
    static constexpr int K = 16;

    template <class Tile>
    static __device__ __forceinline__ int first_a() {
        const int lane = threadIdx.x % 32;
        if constexpr (sizeof(typename Tile::T) > 2)
            return Tile::of(lane / 4, lane % 4 * 2);
        else if constexpr (Tile::K_MAJOR)
            return Tile::of(lane % 16, lane / 16 * 8);
        else
            return Tile::of(lane / 8 % 2 * 8, lane % 8 + lane / 16 * 8);
    }
    template <class Tile>
    static __device__ __forceinline__ int first_b() {
        const int lane = threadIdx.x % 32;
        if constexpr (sizeof(typename Tile::T) > 2)
            return Tile::of(lane / 4, lane % 4 * 2);
        else if constexpr (Tile::K_MAJOR)
            return Tile::of(lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8);
        else
            return Tile::of(lane / 16 * 8, lane % 16);
    }
    template <class Tile>
    static __device__ __forceinline__ uint32 pair(const float* from) {
        return pack_bf16(from[0], from[Tile::of(0, 1)]);
    }
    template <class Tile>
    static __device__ __forceinline__ void load_a(uint32 (&a)[4], const typename Tile::T* from) {
        if constexpr (sizeof(typename Tile::T) == 2) {
            load_matrices<!Tile::K_MAJOR>(a, from);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) a[i] = pair<Tile>(from + Tile::of(i % 2 * 8, i / 2 * 8));
        }
    }
    template <class Tile>
    static __device__ __forceinline__ void load_b(uint32 (&b)[2][2], const typename Tile::T* from) {
        uint32 all[4];
        if constexpr (sizeof(typename Tile::T) == 2) {
            load_matrices<!Tile::K_MAJOR>(all, from);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) all[i] = pair<Tile>(from + Tile::of(i / 2 * 8, i % 2 * 8));
        }
        b[0][0] = all[0];
        b[0][1] = all[1];
        b[1][0] = all[2];
        b[1][1] = all[3];
    }
    static __device__ __forceinline__ void mma(
        float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
        mma_bf16(d, a, b);
    }
};

// TF32 products of 8 ks; operands are float32, rounded to nearest.
struct Tf32 {
    static constexpr int K = 8;

    template <class Tile>
    static __device__ __forceinline__ int first_a() {
        return Tile::of(threadIdx.x % 32 / 4, threadIdx.x % 4);
    }
    template <class Tile>
    static __device__ __forceinline__ int first_b() {
        return first_a<Tile>();
    }
    template <class Tile>
    static __device__ __forceinline__ void load_a(uint32 (&a)[4], const float* from) {
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = round_tf32(from[Tile::of(i % 2 * 8, i / 2 * 4)]);
    }
    template <class Tile>
    static __device__ __forceinline__ void load_b(uint32 (&b)[2][2], const float* from) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            b[i / 2][i % 2] = round_tf32(from[Tile::of(i / 2 * 8, i % 2 * 4)]);
    }
    static __device__ __forceinline__ void mma(
        float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
        mma_tf32(d, a, b);
    }
};

template <class Unit, int BM_, int BN_, int BK, int WM, int WN, int STAGES>
struct TensorCore {
    static constexpr int BM = BM_, BN = BN_, WIDTH = 2;
    static constexpr int ACROSS = BN / WN, THREADS = BM / WM * ACROSS * 32;

    template <class A, class B>
    struct Stage {
        SharedTile<A, BM, BK> a;
        SharedTile<B, BN, BK> b;
    };
    template <class A, class B>
    struct Shared {
        Stage<A, B> stages[STAGES];
    };

    float sum[WM / 16][WN / 8][4] = {};

    // A source on its way to a stage: begun before a tile is multiplied, ended after it.
    template <class Source, int BMN, bool DIRECT = Source::DIRECT>
    struct Arrival {
        using T = typename Source::Element;
        using Tile = SharedTile<Source, BMN, BK>;
        Share<Source, BMN, BK, THREADS> share;
        int first;  // place of the thread's first vector; the others lie constants behind it
        __device__ __forceinline__ Arrival(const Source& source, int base, int k)
            : share(source, base, k), first(opaque(Tile::place(share.line, share.inner))) {}
        __device__ __forceinline__ void begin(const Source& source, Tile& to) {
            share.each_address(source, [&](int, int line, int inner, bool there, const T* from) {
                T* place = to.data + first + Tile::place(line - share.line, inner - share.inner);
                if constexpr (Source::V * sizeof(T) >= 4)
                    copy_async<Source::V * sizeof(T)>(place, from, there);
                else
                    *place = there ? *from : T{};
            });
            share.advance(source);
        }
        __device__ __forceinline__ void end(Tile&) const {}
    };
    template <class Source, int BMN>
    struct Arrival<Source, BMN, false> {
        using Fixed = typename Source::Fixed;
        using Step = typename Source::Step;
        using Tile = SharedTile<Source, BMN, BK>;
        Held<Source, BMN, BK, THREADS> held;
        int first;  // as above
        __device__ __forceinline__ Arrival(const Source& source, int base, int k)
            : held(source, base, k),
              first(opaque(Tile::place(held.share.line, held.share.inner))) {}
        __device__ __forceinline__ void begin(const Source& source, Tile&) { held.fetch(source); }
        __device__ __forceinline__ void end(Tile& to) const {
            const int top = held.share.line, left = held.share.inner;
            held.share.each([&](int i, int line, int inner, const Fixed&, const Step&) {
                store(to.data + first + Tile::place(line - top, inner - left), held.at[i]);
            });
        }
    };

    template <class A, class B>
    __device__ __forceinline__ void multiply(
        const A& a, const B& b, int m0, int n0, int k0, int k1, Shared<A, B>& shared) {
        Arrival<A, BM> of_a(a, m0, k0);
        Arrival<B, BN> of_b(b, n0, k0);
        const int tiles = k1 > k0 ? (k1 - k0 + BK - 1) / BK : 0;
        auto begin = [&](bool more, Stage<A, B>& to) {
            if (more) {
                of_a.begin(a, to.a);
                of_b.begin(b, to.b);
            }
            commit_copies();  // empty groups keep the count
        };
        auto end = [&](bool more, Stage<A, B>& to) {
            if (more) {
                of_a.end(to.a);
                of_b.end(to.b);
            }
        };
#pragma unroll
        for (int tile = 0; tile < STAGES - 1; tile++) {
            begin(tile < tiles, shared.stages[tile]);
            end(tile < tiles, shared.stages[tile]);
        }
        using TileA = SharedTile<A, BM, BK>;
        using TileB = SharedTile<B, BN, BK>;
        const int first_a = opaque(Unit::template first_a<TileA>() + TileA::of(warp_row(), 0));
        const int first_b = opaque(Unit::template first_b<TileB>() + TileB::of(warp_column(), 0));
        Stage<A, B>*full = shared.stages, *free = full + STAGES - 1;  // to multiply, to copy to
        for (int left = tiles; left > 0; left--) {
            const bool more = left >= STAGES;
            wait_copies<STAGES - 2>();
            __syncthreads();
            begin(more, *free);
            multiply_stage<TileA, TileB>(full->a.data + first_a, full->b.data + first_b);
            end(more, *free);
            free = full;
            full = full == shared.stages + STAGES - 1 ? shared.stages : full + 1;
        }
    }

    // `a` and `b`: what the thread reads first.
    template <class TileA, class TileB>
    __device__ __forceinline__ void multiply_stage(
        const typename TileA::T* a, const typename TileB::T* b) {
#pragma unroll
        for (int k = 0; k < BK; k += Unit::K) {
            uint32 of_a[WM / 16][4], of_b[WN / 16][2][2];
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
                Unit::template load_a<TileA>(of_a[i], a + TileA::of(16 * i, k));
#pragma unroll
            for (int j = 0; j < WN / 16; j++)
                Unit::template load_b<TileB>(of_b[j], b + TileB::of(16 * j, k));
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int j = 0; j < WN / 8; j++) Unit::mma(sum[i][j], of_a[i], of_b[j / 2][j % 2]);
        }
    }

    static __device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / ACROSS * WM; }
    static __device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % ACROSS * WN; }

    template <class F>
    __device__ __forceinline__ void each_piece(F f) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4 * 2;
#pragma unroll
        for (int i = 0; i < WM / 16; i++)
#pragma unroll
            for (int j = 0; j < WN / 8; j++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    Lane<2> piece = {{sum[i][j][2 * half], sum[i][j][2 * half + 1]}};
                    f(warp_row() + 16 * i + g + 8 * half, warp_column() + 8 * j + t, piece);
                }
    }
};
