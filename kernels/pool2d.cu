// Pooling over NHWC pictures: maximum with its argmax, average, and average over bins.
//
// Forward: a thread makes V channels of one output pixel. Backward is a gather: a thread owns V
// channels of one input pixel and visits the windows that cover it, tap by tap, so that nothing is
// added atomically and the order is fixed. Bytes moved: x and y (dy and dx) once, windows that
// overlap read from the cache, and the argmax.
//
// Argmax is packed, see pooled.cuh: a max-pool's thread makes the channels of whole bytes.
#include "pooled.cuh"

struct Geometry {
    int height, width;    // of the picture
    int rows, columns;    // of the pooled picture
    int kernel[2], stride[2], padding[2], dilation[2];
};

// Where a thread's V channels of one pixel are: thread index = (pixel, vector).
struct Place {
    Division vectors, width, height;  // vectors of a pixel; columns and rows of the picture
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

// Elements of a window that its divisor counts along one axis: see minidl's AvgPool2d.
__device__ __forceinline__ int counted(const Geometry& g, int axis, int output, int size, bool padded) {
    const int first = output * g.stride[axis] - g.padding[axis];
    const int last = min(first + g.kernel[axis], size + g.padding[axis]);
    return padded ? last - first : min(last, size) - max(first, 0);
}
__device__ __forceinline__ float divisor(const Geometry& g, int row, int column, bool padded) {
    return float(counted(g, 0, row, g.height, padded) * counted(g, 1, column, g.width, padded));
}

template <int V, class T>
struct avgpool2d_forward {
    struct Params {
        T* y;
        const T* x;
        Geometry g;
        Place place;
        int y_pitch, x_pitch, count_include_pad;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, row, column, vector;
        if (!p.place.find(image, row, column, vector)) return;
        const Geometry& g = p.g;
        float sum[V] = {};
        for (int r = 0; r < g.kernel[0]; r++) {
            const int h = row * g.stride[0] - g.padding[0] + r;
            if (h < 0 || h >= g.height) continue;
            for (int s = 0; s < g.kernel[1]; s++) {
                const int w = column * g.stride[1] - g.padding[1] + s;
                if (w < 0 || w >= g.width) continue;
                float x[V];
                load(x, p.x + ((int64(image) * g.height + h) * g.width + w) * p.x_pitch + vector * V);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += x[v];
            }
        }
        const float by = divisor(g, row, column, p.count_include_pad);
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] /= by;
        const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
        store(p.y + pixel * p.y_pitch + vector * V, sum);
    }
};

template <int V, class T>
struct avgpool2d_dgrad {
    struct Params {
        T* dx;
        const T* dy;
        Geometry g;
        Place place;
        int dx_pitch, dy_pitch, count_include_pad;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, h, w, vector;
        if (!p.place.find(image, h, w, vector)) return;
        const Geometry& g = p.g;
        float sum[V] = {};
        for (int r = 0; r < g.kernel[0]; r++) {
            const int row = (h + g.padding[0] - r) / g.stride[0];
            if (h + g.padding[0] < r || row * g.stride[0] != h + g.padding[0] - r || row >= g.rows)
                continue;
            for (int s = 0; s < g.kernel[1]; s++) {
                const int column = (w + g.padding[1] - s) / g.stride[1];
                if (w + g.padding[1] < s || column * g.stride[1] != w + g.padding[1] - s ||
                    column >= g.columns)
                    continue;
                const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
                const float by = divisor(g, row, column, p.count_include_pad);
                float dy[V];
                load(dy, p.dy + pixel * p.dy_pitch + vector * V);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += dy[v] / by;
            }
        }
        const int64 pixel = (int64(image) * g.height + h) * g.width + w;
        store(p.dx + pixel * p.dx_pitch + vector * V, sum);
    }
};

// Bin i of `bins` over `size` elements is [floor(i size / bins), ceil((i + 1) size / bins)).
__device__ __forceinline__ int bin_start(int i, int size, int bins) { return i * size / bins; }
__device__ __forceinline__ int bin_end(int i, int size, int bins) {
    return ((i + 1) * size + bins - 1) / bins;
}

template <int V, class T>
struct adaptive_avgpool2d_forward {
    struct Params {
        T* y;
        const T* x;
        Geometry g;
        Place place;
        int channels;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, row, column, vector;
        if (!p.place.find(image, row, column, vector)) return;
        const Geometry& g = p.g;
        const int top = bin_start(row, g.height, g.rows), bottom = bin_end(row, g.height, g.rows);
        const int left = bin_start(column, g.width, g.columns);
        const int right = bin_end(column, g.width, g.columns);
        float sum[V] = {};
        for (int h = top; h < bottom; h++)
            for (int w = left; w < right; w++) {
                float x[V];
                load(x, p.x + ((int64(image) * g.height + h) * g.width + w) * p.channels + vector * V);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += x[v];
            }
        const float area = float((bottom - top) * (right - left));
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] /= area;
        const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
        store(p.y + pixel * p.channels + vector * V, sum);
    }
};

template <int V, class T>
struct adaptive_avgpool2d_dgrad {
    struct Params {
        T* dx;
        const T* dy;
        Geometry g;
        Place place;
        int channels;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        int image, h, w, vector;
        if (!p.place.find(image, h, w, vector)) return;
        const Geometry& g = p.g;
        float sum[V] = {};
        for (int row = first_bin(h, g.height, g.rows); row < g.rows; row++) {
            const int top = bin_start(row, g.height, g.rows), bottom = bin_end(row, g.height, g.rows);
            if (top > h) break;
            if (bottom <= h) continue;
            for (int column = first_bin(w, g.width, g.columns); column < g.columns; column++) {
                const int left = bin_start(column, g.width, g.columns);
                const int right = bin_end(column, g.width, g.columns);
                if (left > w) break;
                if (right <= w) continue;
                const int64 pixel = (int64(image) * g.rows + row) * g.columns + column;
                const float area = float((bottom - top) * (right - left));
                float dy[V];
                load(dy, p.dy + pixel * p.channels + vector * V);
#pragma unroll
                for (int v = 0; v < V; v++) sum[v] += dy[v] / area;
            }
        }
        const int64 pixel = (int64(image) * g.height + h) * g.width + w;
        store(p.dx + pixel * p.channels + vector * V, sum);
    }

    // No bin before this one covers `position`.
    static __device__ __forceinline__ int first_bin(int position, int size, int bins) {
        return max(0, int(int64(position) * bins / size) - 1);
    }
};
