// Convolution of NHWC images by KRSC filters, all three passes as implicit GEMMs (see gemm.cuh):
//
//   pass     M             N                K (summed over)     a                 b
//   forward  pixels of y   filters          taps of a filter    patches of x      filters
//   dgrad    pixels of dx  channels of x    taps x filters      patches of dy     filters, by channel
//   wgrad    filters       taps of a filter pixels of y         dy, by filter     patches of x
//
// with 'taps' (r, s, c) in the order of a KRSC filter. Strided dgrad is one product for each phase of
// the stride: dx at rows h = first + u i is touched by the taps r = r0 + step j alone, so that no
// product with a zero between the strides is made. Groups are independent products.
//
// First layers read images of so few channels that no vector fits a pixel: their patches come out
// of shared memory (Staged), to which the image is copied once, in vectors along its rows.
#include "simt.cuh"
#include "tensor_core.cuh"

constexpr int OUTSIDE = -(1 << 30);

template <bool FIRST, class X, class Y>
struct Choose {
    using type = X;
};
template <class X, class Y>
struct Choose<false, X, Y> {
    using type = Y;
};

// Patches of an NHWC image: pixel (n, p, q), tap (r, s, c) is
//     x[n, p stride + origin + r dilation, q stride + origin + s dilation, c], or 0 outside.
// K-major with the taps along k (forward, dgrad), MN-major with the pixels along k (wgrad).
// ROWS: s and c are one axis of S C neighbours, for images of so few channels that a vector does
// not fit one pixel; the image is then width C elements wide, with a pitch of 1.
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

// Patches of an image of few channels, by way of shared memory, for forward (K-major) and wgrad.
//
// The pixels of y come in blocks of SIDE x SIDE, inside of a block by windows of WH x WW (1 x 1, or
// those of a max-pool behind). The part of x that a block's patches touch is its box:
// (SIDE - 1) stride + extent rows of ((SIDE - 1) stride + S) C neighbours. A box is copied once, zeros
// where it hangs over the image's edge; a patch is then an offset of the pixel plus an offset of
// the tap. For 3x3 filters of 3 channels 300 elements are copied for 64 pixels of 27 taps, for
// 11x11 at stride 4 4,563 for 64 of 363: a fifth and less of what implicit GEMM loads without.
// VECTOR elements are copied at once: all boxes begin `lead` elements behind a whole vector.
template <class T, int VECTOR, bool KMAJOR, int WH = 1, int WW = 1>
struct Staged {
    using Element = T;
    static constexpr int V = 4, SIDE = 8, BLOCK = SIDE * SIDE;
    static constexpr bool K_MAJOR = KMAJOR, DIRECT = false;
    const T* data;
    int64 image_pitch;
    int row_pitch, height;
    int rows, columns_of_y;         // of y
    int row_step, row_origin;       // rows of x from one block to the next; of the first box
    int column_step, column_origin; // the same in elements; whole vectors
    int box_size, box_pitch, lead;  // elements
    int pixel_pitch[2], tap_pitch;  // in a box, from one pixel and one row of taps to the next
    int pixels, depth;              // pixels of all blocks; taps
    int boxes;                      // that are staged at once where pixels are summed over
    Division image, columns;        // blocks of an image, of a row
    Division taps;                  // elements of a row of taps
    Division vectors, row_vectors;  // of a box, of its row

    const T* room;
    int first;  // of the staged blocks

    using Pixel = int;  // offset in `room`, or -1
    struct Tap {
        int at[V];  // offsets in a box, or -1
    };
    using Fixed = typename Choose<KMAJOR, Pixel, Tap>::type;
    using Step = typename Choose<KMAJOR, Tap, Pixel>::type;

    __device__ __forceinline__ void enter(int) {}
    // The first pixel of the next stage.
    __device__ __forceinline__ int after(int pixel) const {
        return (pixel / (BLOCK * boxes) + 1) * BLOCK * boxes;
    }

    template <int THREADS>
    __device__ __forceinline__ void stage(int from, int to, void* where) {
        T* out = static_cast<T*>(where);
        room = out;
        first = from / BLOCK;
        const int count = (min(to, pixels) + BLOCK - 1) / BLOCK - first;
        for (int i = threadIdx.x; i < count * vectors.divisor; i += THREADS) {
            int vector, inside, across, column;
            const int box = vectors.quotient(i, vector);
            const int row = row_vectors.quotient(vector, column);
            const int n = image.quotient(first + box, inside);
            const int down = columns.quotient(inside, across);
            const int h = down * row_step + row_origin + row;
            const int w = across * column_step + column_origin + column * VECTOR;
            const bool there = uint32(h) < uint32(height) && uint32(w) < uint32(row_pitch);
            const T* source = there ? data + (n * image_pitch + int64(h) * row_pitch + w) : nullptr;
            T* to_vector = out + box * box_size + row * box_pitch + column * VECTOR;
            if constexpr (VECTOR * sizeof(T) >= 4)
                copy_async<VECTOR * sizeof(T)>(to_vector, source, data);
            else
                *to_vector = source ? *source : T{};
        }
        commit_copies();
    }

    __device__ __forceinline__ Pixel pixel(int i) const {
        if (i >= pixels) return -1;
        constexpr int ACROSS = SIDE / WW;
        const int block = i / BLOCK, window = i % BLOCK / (WH * WW), tap = i % (WH * WW);
        const int p = window / ACROSS * WH + tap / WW, q = window % ACROSS * WW + tap % WW;
        int inside, across;
        image.quotient(block, inside);
        const int down = columns.quotient(inside, across);
        if (down * SIDE + p >= rows || across * SIDE + q >= columns_of_y) return -1;
        return (block - first) * box_size + lead + p * pixel_pitch[0] + q * pixel_pitch[1];
    }
    __device__ __forceinline__ Tap tap(int i) const {
        Tap found;
#pragma unroll
        for (int v = 0; v < V; v++) {
            int s;
            const int r = taps.quotient(i + v, s);
            found.at[v] = i + v < depth ? r * tap_pitch + s : -1;
        }
        return found;
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
    __device__ __forceinline__ void take(float (&to)[V], const Pixel& pixel, const Tap& tap) const {
#pragma unroll
        for (int v = 0; v < V; v++)
            to[v] = pixel < 0 || tap.at[v] < 0 ? 0.f : to_float(room[pixel + tap.at[v]]);
    }
    __device__ __forceinline__ void take(float (&to)[V], const Tap& tap, const Pixel& pixel) const {
        take(to, pixel, tap);
    }
};
template <class T, int VECTOR, bool KMAJOR, int WH, int WW>
constexpr bool STAGED<Staged<T, VECTOR, KMAJOR, WH, WW>> = true;

// Row m of a result whose pixels come in blocks as Staged has them is pixel, or window, (n, p, q) of a
// image of `height` x `width`; blocks hang over its edge.
template <int WH, int WW>
struct BlockRows {
    static constexpr bool PARTIAL = true;
    static constexpr int DOWN = 8 / WH, ACROSS = 8 / WW;  // windows of a block
    Division image, columns;
    int height, width;
    __device__ __forceinline__ int64 operator()(int m) const {
        const int window = m / (WH * WW), block = window / (DOWN * ACROSS);
        const int inside = window % (DOWN * ACROSS);
        int rest, across;
        const int n = image.quotient(block, rest), down = columns.quotient(rest, across);
        const int p = down * DOWN + inside / ACROSS, q = across * ACROSS + inside % ACROSS;
        return p < height && q < width ? (int64(n) * height + p) * width + q : -1;
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
    static constexpr bool PARTIAL = false;
    Division image, columns;
    int height, width, first[2], step[2];
    __device__ __forceinline__ int64 operator()(int m) const {
        int rest, j;
        const int n = image.quotient(m, rest), i = columns.quotient(rest, j);
        const int h = first[0] + i * step[0], w = first[1] + j * step[1];
        return (int64(n) * height + h) * width + w;
    }
};
