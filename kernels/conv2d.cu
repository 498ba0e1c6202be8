// Convolution of NHWC pictures by KRSC filters, all three passes as implicit GEMMs (see gemm.cuh):
//
//   pass     M             N                K (summed over)     a                 b
//   forward  pixels of y   filters          taps of a filter    patches of x      filters
//   dgrad    pixels of dx  channels of x    taps x filters      patches of dy     filters, by channel
//   wgrad    filters       taps of a filter pixels of y         dy, by filter     patches of x
//
// with 'taps' (r, s, c) in the order of a KRSC filter. Strided dgrad is one product for each phase of
// the stride: dx at rows h = first + u i is touched by the taps r = r0 + step j alone, so that no
// product with a zero between the strides is made. Groups are independent products.
#include "simt.cuh"
#include "tensor_core.cuh"

constexpr int OUTSIDE = -(1 << 30);

// Patches of an NHWC picture: pixel (n, p, q), tap (r, s, c) is
//     x[n, p stride + origin + r dilation, q stride + origin + s dilation, c], or 0 outside.
// K-major with the taps along k (forward, dgrad), MN-major with the pixels along k (wgrad).
// ROWS: s and c are one axis of S C neighbours, for pictures of so few channels that a vector does
// not fit one pixel; the picture is then width C elements wide, with a pitch of 1.
// The pixels come row by row, or window by window of BH x BW (`image` and `columns` count windows).
template <class T, int VECTOR, bool KMAJOR, bool ROWS, int BH = 1, int BW = 1>
struct Patches {
    using Element = T;
    static constexpr int V = VECTOR;
    static constexpr bool K_MAJOR = KMAJOR, DIRECT = true;
    const T* data;
    int64 image_pitch, group_step;
    int row_pitch, pitch;
    int height, width;
    int stride[2], origin[2], dilation[2];
    int pixels, depth;  // pixels and taps that exist
    Division image, columns;   // pixels of an image, of a row
    Division channels, taps;   // elements of a tap; taps of a row of the filter

    struct Pixel {
        int n, h, w;
    };
    struct Tap {
        int h, w, c;
    };
    template <bool FIRST, class X, class Y>
    struct Choose {
        using type = X;
    };
    template <class X, class Y>
    struct Choose<false, X, Y> {
        using type = Y;
    };
    using Fixed = typename Choose<KMAJOR, Pixel, Tap>::type;
    using Step = typename Choose<KMAJOR, Tap, Pixel>::type;

    __device__ __forceinline__ void enter(int group) { data += group * group_step; }

    __device__ __forceinline__ Pixel pixel(int i) const {
        if (i >= pixels) return {0, OUTSIDE, 0};
        const int inside = i % (BH * BW);
        int rest, q;
        const int n = image.quotient(i / (BH * BW), rest), p = columns.quotient(rest, q);
        return {n, (p * BH + inside / BW) * stride[0] + origin[0],
                (q * BW + inside % BW) * stride[1] + origin[1]};
    }
    __device__ __forceinline__ Tap tap(int i) const {
        if (i >= depth) return {OUTSIDE, 0, 0};
        int c, s;
        const int r = taps.quotient(channels.quotient(i, c), s);
        return {r * dilation[0], s * dilation[1], c};
    }
    __device__ __forceinline__ Fixed fixed(int i) const {
        if constexpr (KMAJOR)
            return pixel(i);
        else
            return tap(i);
    }
    __device__ __forceinline__ Step step(int i) const {
        if constexpr (KMAJOR)
            return tap(i);
        else
            return pixel(i);
    }
    __device__ __forceinline__ const T* at(const Pixel& pixel, const Tap& tap) const {
        const int h = pixel.h + tap.h, w = pixel.w + tap.w;
        if (uint32(h) >= uint32(height) || uint32(ROWS ? w + tap.c : w) >= uint32(width))
            return nullptr;
        return data + (pixel.n * image_pitch + int64(h) * row_pitch + int64(w) * pitch + tap.c);
    }
    __device__ __forceinline__ const T* at(const Tap& tap, const Pixel& pixel) const {
        return at(pixel, tap);
    }
};

// Patches of a gradient that is not in memory: `patches` says which pixel, Unpool (pooled.cuh) what is
// there.
template <class Where, class Pool>
struct Unpooled {
    using Element = typename Where::Element;
    using Fixed = typename Where::Fixed;
    using Step = typename Where::Step;
    using Pixel = typename Where::Pixel;
    using Tap = typename Where::Tap;
    static constexpr int V = Where::V;
    static constexpr bool K_MAJOR = Where::K_MAJOR, DIRECT = false;
    Where patches;
    Pool pool;

    __device__ __forceinline__ void enter(int) {}
    __device__ __forceinline__ Fixed fixed(int i) const { return patches.fixed(i); }
    __device__ __forceinline__ Step step(int i) const { return patches.step(i); }
    __device__ __forceinline__ void take(float (&to)[V], const Pixel& pixel, const Tap& tap) const {
        pool.take(to, pixel.n, pixel.h + tap.h, pixel.w + tap.w, tap.c);
    }
    __device__ __forceinline__ void take(float (&to)[V], const Tap& tap, const Pixel& pixel) const {
        take(to, pixel, tap);
    }
};

// Filters by channel, for dgrad: element (c, k) with k = (r, s, filter) over the taps of one phase.
template <int VECTOR>
struct Filters {
    using Element = float;
    static constexpr int V = VECTOR;
    static constexpr bool K_MAJOR = false, DIRECT = true;
    const float* data;
    int64 group_step;
    int filter_pitch, tap_pitch[2];
    int size, depth;
    Division channels, taps;  // filters; taps of a row of the phase

    using Fixed = int;
    using Step = int;  // offset of the filter's tap, or -1
    __device__ __forceinline__ void enter(int group) { data += group * group_step; }
    __device__ __forceinline__ Fixed fixed(int c) const { return c; }
    __device__ __forceinline__ Step step(int i) const {
        if (i >= depth) return -1;
        int filter, s;
        const int r = taps.quotient(channels.quotient(i, filter), s);
        return filter * filter_pitch + r * tap_pitch[0] + s * tap_pitch[1];
    }
    __device__ __forceinline__ const float* at(Fixed c, Step offset) const {
        return c >= size || offset < 0 ? nullptr : data + offset + c;
    }
};

// Row m of dgrad's result is pixel (n, first + step i, first + step j) of dx.
struct PhaseRows {
    Division image, columns;
    int height, width, first[2], step[2];
    __device__ __forceinline__ int64 operator()(int m) const {
        int rest, j;
        const int n = image.quotient(m, rest), i = columns.quotient(rest, j);
        const int h = first[0] + i * step[0], w = first[1] + j * step[1];
        return (int64(n) * height + h) * width + w;
    }
};
