// What max-pooling shares with the products that it is part of: the largest of a window, and argmax.
//
// Argmax is packed as minidl/ops/bits.py has it: with P = 8 / BITS, channel c is bits (c mod P) BITS and up
// of byte c / P. BITS = 0: an element of its own for each channel.
//
// As the end of a product (gemm.cuh): the rows of the result come window by window, so that the H W
// rows of one lie in one tile; a thread takes some columns of a window and hands their maxima on. The
// image itself is never stored.
// As its beginning: Unpool, which conv2d.cu and reduction.cu read through.
#pragma once
#include "elementwise.cuh"

// The largest of V channels and its tap: of equals the tap that comes first, of several NaN, which
// count as more than every number, the last. A window without a tap in the image has -infinity.
template <int V>
struct Largest {
    Lane<V> best;
    uint32 tap_of[V] = {};
    bool first = true;

    __device__ __forceinline__ Largest() {
#pragma unroll
        for (int v = 0; v < V; v++) best.at[v] = -infinity();
    }
    __device__ __forceinline__ void take(const float (&x)[V], uint32 tap) {
#pragma unroll
        for (int v = 0; v < V; v++) {
            const bool more = x[v] > best.at[v] || is_nan(x[v]);
            if (first || more) {
                best.at[v] = x[v];
                tap_of[v] = tap;
            }
        }
        first = false;
    }
};

// The argmax of CHANNELS neighbours, the first of which begins an element.
template <int CHANNELS, int BITS, class Mask>
struct Taps {
    static constexpr int PLACES = BITS ? 8 / BITS : 1, SIZE = CHANNELS / PLACES;
    static constexpr uint32 LOW = BITS ? (1u << BITS) - 1 : ~0u;
    static_assert(CHANNELS % PLACES == 0, "whole elements");
    Vector<Mask, SIZE> masks = {};

    __device__ __forceinline__ void put(int channel, uint32 tap) {
        masks.at[channel / PLACES] |= Mask(tap << channel % PLACES * BITS);
    }
    __device__ __forceinline__ uint32 get(int channel) const {
        return uint32(masks.at[channel / PLACES]) >> channel % PLACES * BITS & LOW;
    }
    __device__ __forceinline__ void store(Mask* to) const {
        vector_at<SIZE>(to) = masks;
    }
    __device__ __forceinline__ void load(const Mask* from) {
        masks = vector_at<SIZE>(from);
    }
};

// A max-pool's data gradient that is not in memory: dy of the pool where argmax says so, else 0. The
// windows are H x W, side by side.
template <class T, int H, int W, int BITS>
struct Unpool {
    const T* dy;
    const uint8* argmax;
    int64 pitch;                // of dy
    int groups, rows, columns;  // bytes of argmax in a pixel; windows down and across

    // Channels c and up of pixel (n, h, w) of the image; V need not be whole bytes of argmax.
    template <int V>
    __device__ __forceinline__ void take(float (&to)[V], int n, int h, int w, int c) const {
        if (uint32(h) >= uint32(rows * H) || uint32(w) >= uint32(columns * W)) {
#pragma unroll
            for (int v = 0; v < V; v++) to[v] = 0.f;
            return;
        }
        const int64 window = int64(n * rows + h / H) * columns + w / W;
        load(to, dy + window * pitch + c);
        const uint32 taps = taps_of<V>(window, c), tap = h % H * W + w % W;
#pragma unroll
        for (int v = 0; v < V; v++)
            if ((taps >> v * BITS & ((1u << BITS) - 1)) != tap) to[v] = 0.f;
    }

    // Those of V neighbours, the first in the lowest bits.
    template <int V>
    __device__ __forceinline__ uint32 taps_of(int64 window, int c) const {
        constexpr int PLACES = 8 / BITS;
        const uint8* at = argmax + window * groups + c / PLACES;
        uint32 taps = 0;
#pragma unroll
        for (int i = 0; i < (V + PLACES - 1) / PLACES; i++) taps |= uint32(at[i]) << 8 * i;
        return taps >> c % PLACES * BITS;
    }
};

// A sink of windows: rows of a product come H W at a time, their maxima go to `sink`, WIDTH columns at
// once, rounded to T as if they had been stored.
template <int H, int W, int BITS, class T, class Sink, int WIDTH>
struct Pooled {
    Sink sink;
    uint8* argmax;
    int groups;  // bytes of argmax in a pixel

    // `at`: pixels of the pool.
    template <int N, int V>
    __device__ __forceinline__ void give_all(
        const Lane<V> (&x)[N * H * W], const Places<N>& at) const {
        Lane<V> best[N];
        Taps<V, BITS, uint8> taps[N];
#pragma unroll
        for (int n = 0; n < N; n++) {
            Largest<V> largest;
#pragma unroll
            for (int tap = 0; tap < H * W; tap++) {
                float rounded[V];
#pragma unroll
                for (int v = 0; v < V; v++)
                    rounded[v] = to_float(from_float<T>(x[n * H * W + tap].at[v]));
                largest.take(rounded, tap);
            }
            best[n] = largest.best;
#pragma unroll
            for (int v = 0; v < V; v++) taps[n].put(v, largest.tap_of[v]);
        }
        give_parts(best, at);
#pragma unroll
        for (int n = 0; n < N; n++)
            if (at.there[n]) taps[n].store(argmax + at.row[n] * groups + at.column / (8 / BITS));
    }

    template <int N, int V>
    __device__ __forceinline__ void give_parts(const Lane<V> (&x)[N], const Places<N>& at) const {
        if constexpr (WIDTH >= V) {
            sink.give_all(x, at);
        } else {
#pragma unroll
            for (int first = 0; first < V; first += WIDTH) {
                Lane<WIDTH> part[N];
                Places<N> of_part = at;
                of_part.column += first;
#pragma unroll
                for (int n = 0; n < N; n++)
#pragma unroll
                    for (int i = 0; i < WIDTH; i++) part[n].at[i] = x[n].at[first + i];
                sink.give_all(part, of_part);
            }
        }
    }
};
