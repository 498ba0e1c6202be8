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
// Offset: what counts the elements from the first tap to another, or from the first pixel.
template <class T, int VECTOR, bool KMAJOR, bool ROWS, int BH = 1, int BW = 1, class Offset = int>
struct Patches {
    using Element = T;
    static constexpr int V = VECTOR;
    static constexpr bool K_MAJOR = KMAJOR, DIRECT = true;
    const T* data;
    int64 group_step;
    int row_pitch, pitch;
    int height, width;
    int stride[2], origin[2], dilation[2];
    int pixels, highest;   // pixels that exist; values of k's first digit: images, or rows of taps
    Radix image, filter;   // rows and columns of an image's pixels; taps of a row, channels of a tap

    // Of a pixel the image and the first row and column; of a tap the channel in place of the image.
    struct Fixed {
        const T* at;
        int h, w, other;
    };
    struct Step {
        Digits digits;
        int k;
    };

    __device__ __forceinline__ void enter(int group) { data += group * group_step; }

    // (n, p, q).
    __device__ __forceinline__ Digits pixel(int i) const {
        const int inside = i % (BH * BW);
        const Digits window = image.digits(i / (BH * BW));
        return {window.high, window.middle * BH + inside / BW, window.low * BW + inside % BW};
    }
    template <class Number>
    __device__ __forceinline__ Number offset(Number row, Number column, int channel) const {
        return row * row_pitch + (column * pitch + channel);
    }
    __device__ __forceinline__ Fixed fixed(int i) const {
        if constexpr (KMAJOR) {
            const Digits is = pixel(min(i, pixels - 1));
            const int h = is.middle * stride[0] + origin[0], w = is.low * stride[1] + origin[1];
            return {opaque(data + offset<int64>(is.high * height + h, w, 0)), h, w, is.high};
        } else {
            const Digits is = filter.digits(i);
            const int h = is.high * dilation[0] + origin[0], w = is.middle * dilation[1] + origin[1];
            return {opaque(data + offset<int64>(h, w, is.low)), h, w, is.low};
        }
    }
    __device__ __forceinline__ Step step(int k) const {
        return {KMAJOR ? filter.digits(k) : pixel(k), k};
    }
    template <int BK>
    __device__ __forceinline__ void advance(Step& step) const {
        if constexpr (!KMAJOR && BH * BW > 1)
            step = this->step(step.k + BK);
        else
            (KMAJOR ? filter : image).advance(step.digits);
    }
    __device__ __forceinline__ const T* at(const Fixed& fixed, const Step& step) const {
        const Digits& k = step.digits;
        if constexpr (KMAJOR)
            return fixed.at + offset<Offset>(k.high * dilation[0], k.middle * dilation[1], k.low);
        else
            return fixed.at +
                   offset<Offset>(k.high * height + k.middle * stride[0], k.low * stride[1], 0);
    }

    // Where in the image the element of a pixel and a tap is.
    struct Place {
        int n, h, w, c;
        bool exists;  // if k does
    };
    __device__ __forceinline__ Place place(const Fixed& fixed, const Step& step) const {
        const Digits& k = step.digits;
        const bool exists = k.high < highest;
        if constexpr (KMAJOR)
            return {fixed.other, fixed.h + k.high * dilation[0], fixed.w + k.middle * dilation[1],
                    k.low, exists};
        else
            return {k.high, fixed.h + k.middle * stride[0], fixed.w + k.low * stride[1], fixed.other,
                    exists};
    }
    __device__ __forceinline__ bool there(const Fixed& fixed, const Step& step) const {
        const Place x = place(fixed, step);
        const int column = ROWS ? x.w + x.c : x.w;
        return x.exists && uint32(x.h) < uint32(height) && uint32(column) < uint32(width);
    }
};

// Patches of a gradient that is not in memory: `patches` says which pixel, Unpool (pooled.cuh) what is
// there.
template <class Where, class Pool>
struct Unpooled {
    using Element = typename Where::Element;
    using Fixed = typename Where::Fixed;
    using Step = typename Where::Step;
    static constexpr int V = Where::V;
    static constexpr bool K_MAJOR = Where::K_MAJOR, DIRECT = false;
    Where patches;
    Pool pool;

    __device__ __forceinline__ void enter(int) {}
    __device__ __forceinline__ Fixed fixed(int i) const { return patches.fixed(i); }
    __device__ __forceinline__ Step step(int k) const { return patches.step(k); }
    template <int BK>
    __device__ __forceinline__ void advance(Step& step) const {
        patches.template advance<BK>(step);
    }
    __device__ __forceinline__ void take(float (&to)[V], const Fixed& fixed, const Step& step) const {
        const typename Where::Place x = patches.place(fixed, step);
        pool.take(to, x.n, x.exists ? x.h : OUTSIDE, x.w, x.c);
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
    struct Step {
        typename Choose<KMAJOR, Tap, Pixel>::type is;
        int k;
    };

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
            const T* source = data + (n * image_pitch + int64(h) * row_pitch + w);
            T* to_vector = out + box * box_size + row * box_pitch + column * VECTOR;
            if constexpr (VECTOR * sizeof(T) >= 4)
                copy_async<VECTOR * sizeof(T)>(to_vector, source, there);
            else
                *to_vector = there ? *source : T{};
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
    __device__ __forceinline__ Step step(int k) const {
        if constexpr (KMAJOR)
            return {tap(k), k};
        else
            return {pixel(k), k};
    }
    template <int BK>
    __device__ __forceinline__ void advance(Step& step) const {
        step = this->step(step.k + BK);
    }
    __device__ __forceinline__ void take(float (&to)[V], const Fixed& fixed, const Step& step) const {
        if constexpr (KMAJOR)
            gather(to, fixed, step.is);
        else
            gather(to, step.is, fixed);
    }
    __device__ __forceinline__ void gather(float (&to)[V], const Pixel& pixel, const Tap& tap) const {
#pragma unroll
        for (int v = 0; v < V; v++)
            to[v] = pixel < 0 || tap.at[v] < 0 ? 0.f : to_float(room[pixel + tap.at[v]]);
    }
};
template <class T, int VECTOR, bool KMAJOR, int WH, int WW>
constexpr bool STAGED<Staged<T, VECTOR, KMAJOR, WH, WW>> = true;

// Row m of a result whose pixels come in blocks as Staged has them is pixel, or window, (n, p, q) of a
// image of `height` x `width`; blocks hang over its edge.
template <int WH, int WW>
struct BlockRows {
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
    int size, highest;  // channels; rows of taps
    Radix filter;       // taps of a row of the phase, filters

    struct Fixed {
        const float* at;
        int left;  // channels that exist from this one on
    };
    using Step = Digits;
    __device__ __forceinline__ void enter(int group) { data += group * group_step; }
    __device__ __forceinline__ Fixed fixed(int c) const {
        return {opaque(data + c), opaque(size - c)};
    }
    __device__ __forceinline__ Step step(int k) const { return filter.digits(k); }
    template <int BK>
    __device__ __forceinline__ void advance(Step& step) const {
        filter.advance(step);
    }
    __device__ __forceinline__ bool there(
        const Fixed& fixed, const Step& step, int more = 0) const {
        return fixed.left > more && step.high < highest;
    }
    __device__ __forceinline__ const float* at(const Fixed& fixed, const Step& step) const {
        const int tap = step.high * tap_pitch[0] + step.middle * tap_pitch[1];
        return fixed.at + (step.low * filter_pitch + tap);
    }
};
template <int V>
constexpr bool SIDE_BY_SIDE<Filters<V>> = true;

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
