// Pooling over NHWC images: maximum with its argmax, average, and average over bins.
//
// Forward: a thread makes V channels of one output pixel. Backward is a gather: a thread owns V
// channels of one input pixel and visits the windows that cover it, tap by tap, so that nothing is
// added atomically and the order is fixed. Bytes moved: x and y (dy and dx) once, windows that
// overlap read from the cache, and the argmax.
//
// Argmax is packed, see pooled.cuh: a max-pool's thread makes the channels of whole bytes.
#include "pooled.cuh"

struct Geometry {
    int height, width;    // of the image
    int rows, columns;    // of the pooled image
    int kernel[2], stride[2], padding[2], dilation[2];
};

// Where a thread's V channels of one pixel are: thread index = (pixel, vector).
struct Place {
    Division vectors, width, height;  // vectors of a pixel; columns and rows of the image
    int64 threads;
    __device__ __forceinline__ bool find(int& image, int& row, int& column, int& vector) const {
        const int64 index = thread_index();
        if (index >= threads) return false;
        const int pixel = vectors.quotient(int(index), vector);
        image = height.quotient(width.quotient(pixel, column), row);
        return true;
    }
};

// Channels of one thread, PARTS vectors of V.
template <int V, int BITS>
struct OfThread {
    static constexpr int PLACES = BITS ? 8 / BITS : 1;
    static constexpr int CHANNELS = V > PLACES ? V : PLACES, PARTS = CHANNELS / V;
};

template <int V, int BITS, class T, class Mask, class Sink>
struct maxpool2d_forward {
    static constexpr int CHANNELS = OfThread<V, BITS>::CHANNELS, PARTS = OfThread<V, BITS>::PARTS;
    using Argmax = Taps<CHANNELS, BITS, Mask>;
    struct Params {
        Sink y;
        Mask* argmax;
        const T* x;
        Geometry g;
        Place place;
        int pitch, channels, groups;  // groups: elements of argmax in a pixel
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, row, column, vector;
        if (!p.place.find(image, row, column, vector)) return;
        const Geometry& g = p.g;
        const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
        Argmax argmax;
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            const int channel = vector * CHANNELS + i * V;
            if (channel >= p.channels) break;
            const Largest<V> largest = largest_of(p, image, row, column, channel);
            p.y.give(largest.best, pixel, channel);
#pragma unroll
            for (int v = 0; v < V; v++) argmax.put(i * V + v, largest.tap_of[v]);
        }
        argmax.store(p.argmax + pixel * p.groups + vector * Argmax::SIZE);
    }

    static __device__ __forceinline__ Largest<V> largest_of(
        const Params& p, int image, int row, int column, int channel) {
        const Geometry& g = p.g;
        const int top = row * g.stride[0] - g.padding[0], left = column * g.stride[1] - g.padding[1];
        Largest<V> largest;
        for (int r = 0; r < g.kernel[0]; r++) {
            const int h = top + r * g.dilation[0];
            if (h < 0 || h >= g.height) continue;
            for (int s = 0; s < g.kernel[1]; s++) {
                const int w = left + s * g.dilation[1];
                if (w < 0 || w >= g.width) continue;
                float x[V];
                load(x, p.x + ((int64(image) * g.height + h) * g.width + w) * p.pitch + channel);
                largest.take(x, r * g.kernel[1] + s);
            }
        }
        return largest;
    }
};

template <int V, int BITS, class T, class Mask>
struct maxpool2d_dgrad {
    static constexpr int CHANNELS = OfThread<V, BITS>::CHANNELS, PARTS = OfThread<V, BITS>::PARTS;
    using Argmax = Taps<CHANNELS, BITS, Mask>;
    struct Params {
        T* dx;
        const T* dy;
        const Mask* argmax;
        Geometry g;
        Place place;
        int dx_pitch, dy_pitch, channels, groups;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, h, w, vector;
        if (!p.place.find(image, h, w, vector)) return;
        const Geometry& g = p.g;
        float sum[PARTS][V] = {};
        for (int r = 0; r < g.kernel[0]; r++) {
            const int above = h + g.padding[0] - r * g.dilation[0];
            const int row = above / g.stride[0];
            if (above < 0 || row * g.stride[0] != above || row >= g.rows) continue;
            for (int s = 0; s < g.kernel[1]; s++) {
                const int before = w + g.padding[1] - s * g.dilation[1];
                const int column = before / g.stride[1];
                if (before < 0 || column * g.stride[1] != before || column >= g.columns) continue;
                const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
                take(p, pixel, vector, r * g.kernel[1] + s, sum);
            }
        }
        const int64 pixel = (int64(image) * g.height + h) * g.width + w;
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            const int channel = vector * CHANNELS + i * V;
            if (channel < p.channels) store(p.dx + pixel * p.dx_pitch + channel, sum[i]);
        }
    }

    static __device__ __forceinline__ void take(
        const Params& p, int64 pixel, int vector, uint32 tap, float (&sum)[PARTS][V]) {
        Argmax argmax;
        argmax.load(p.argmax + pixel * p.groups + vector * Argmax::SIZE);
#pragma unroll
        for (int i = 0; i < PARTS; i++) {
            const int channel = vector * CHANNELS + i * V;
            if (channel >= p.channels) break;
            float dy[V];
            load(dy, p.dy + pixel * p.dy_pitch + channel);
#pragma unroll
            for (int v = 0; v < V; v++)
                if (argmax.get(i * V + v) == tap) sum[i][v] += dy[v];
        }
    }
};

// Positions of an image along one axis, [first, last).
struct Span {
    int first, last;
};

// Windows of AvgPool2d: what they cover of the image, and how many elements their divisor counts.
struct Sliding {
    static __device__ __forceinline__ Span span(const Geometry& g, int axis, int output, int size) {
        const int first = output * g.stride[axis] - g.padding[axis];
        return {max(first, 0), min(first + g.kernel[axis], size)};
    }
    static __device__ __forceinline__ int counted(
        const Geometry& g, int axis, int output, int size, bool padded) {
        const int first = output * g.stride[axis] - g.padding[axis];
        const int last = min(first + g.kernel[axis], size + g.padding[axis]);
        return padded ? last - first : min(last, size) - max(first, 0);
    }
    // No window before this one covers `position`.
    static __device__ __forceinline__ int first_over(
        const Geometry& g, int axis, int position, int, int) {
        return max(0, position + g.padding[axis] - g.kernel[axis] + g.stride[axis]) / g.stride[axis];
    }
};

// Bins of AdaptiveAvgPool2d: bin i of n over `size` is [floor(i size / n), ceil((i + 1) size / n)).
struct Bins {
    static __device__ __forceinline__ Span span(const Geometry& g, int axis, int i, int size) {
        const int bins = axis ? g.columns : g.rows;
        return {i * size / bins, ((i + 1) * size + bins - 1) / bins};
    }
    static __device__ __forceinline__ int counted(
        const Geometry& g, int axis, int i, int size, bool) {
        const Span covered = span(g, axis, i, size);
        return covered.last - covered.first;
    }
    static __device__ __forceinline__ int first_over(
        const Geometry&, int, int position, int size, int bins) {
        return max(0, int(int64(position) * bins / size) - 1);
    }
};

template <class Kind>
__device__ __forceinline__ float divisor(const Geometry& g, int row, int column, bool padded) {
    return float(Kind::counted(g, 0, row, g.height, padded) *
                 Kind::counted(g, 1, column, g.width, padded));
}

template <class T>
struct Averages {
    T* to;
    const T* from;
    Geometry g;
    Place place;
    int to_pitch, from_pitch, count_include_pad;
};

template <int V, class T, class Kind>
struct AverageForward {
    using Params = Averages<T>;
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, row, column, vector;
        if (!p.place.find(image, row, column, vector)) return;
        const Geometry& g = p.g;
        const Span down = Kind::span(g, 0, row, g.height), across = Kind::span(g, 1, column, g.width);
        float sum[V] = {};
        for (int h = down.first; h < down.last; h++)
            for (int w = across.first; w < across.last; w++) {
                float x[V];
                const int64 pixel = (int64(image) * g.height + h) * g.width + w;
                load(x, p.from + pixel * p.from_pitch + vector * V);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += x[v];
            }
        const float by = divisor<Kind>(g, row, column, p.count_include_pad);
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] /= by;
        const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
        store(p.to + pixel * p.to_pitch + vector * V, sum);
    }
};

template <int V, class T, class Kind>
struct AverageBackward {
    using Params = Averages<T>;
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, h, w, vector;
        if (!p.place.find(image, h, w, vector)) return;
        const Geometry& g = p.g;
        float sum[V] = {};
        for (int row = Kind::first_over(g, 0, h, g.height, g.rows); row < g.rows; row++) {
            const Span down = Kind::span(g, 0, row, g.height);
            if (down.first > h) break;
            if (down.last <= h) continue;
            for (int column = Kind::first_over(g, 1, w, g.width, g.columns); column < g.columns; column++) {
                const Span across = Kind::span(g, 1, column, g.width);
                if (across.first > w) break;
                if (across.last <= w) continue;
                const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
                const float by = divisor<Kind>(g, row, column, p.count_include_pad);
                float dy[V];
                load(dy, p.from + pixel * p.from_pitch + vector * V);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += dy[v] / by;
            }
        }
        const int64 pixel = (int64(image) * g.height + h) * g.width + w;
        store(p.to + pixel * p.to_pitch + vector * V, sum);
    }
};

template <int V, class T>
using avgpool2d_forward = AverageForward<V, T, Sliding>;
template <int V, class T>
using avgpool2d_dgrad = AverageBackward<V, T, Sliding>;
template <int V, class T>
using adaptive_avgpool2d_forward = AverageForward<V, T, Bins>;
template <int V, class T>
using adaptive_avgpool2d_dgrad = AverageBackward<V, T, Bins>;
