// Local response normalization across channels: equations in minidl/layers/lrn.py.
//
// A block takes whole pixels into shared memory, so the result may lie over what it is made of, and
// each element is read once from memory however wide the window is. Grid: one block for
// `pixels_of_a_block` pixels. Bytes moved: forward x and y once; backward dy, x and dx once.
#include "platform.cuh"

struct Response {
    int channels, size;
    float alpha_of_one, beta, k;  // alpha_of_one: alpha / size

    // k + alpha / size * the sum of squares around channel c of one pixel's channels.
    __device__ __forceinline__ float scale(const float* x, int c) const {
        float sum = 0;
        const int last = min(channels - 1, c + (size - 1) / 2);
        for (int i = max(0, c - size / 2); i <= last; i++) sum = fmaf(x[i], x[i], sum);
        return fmaf(sum, alpha_of_one, k);
    }
};

template <class T>
struct lrn_forward {
    struct Params {
        T* y;
        const T* x;
        int64 pixels;
        int pixels_of_a_block;
        Response response;
    };
    struct Shared {
        float x[1];
    };

    static __device__ void run(const Params& p, Shared& shared) {
        const int channels = p.response.channels;
        const int64 first = blockIdx.x * int64(p.pixels_of_a_block);
        const int count = int(min(int64(p.pixels_of_a_block), p.pixels - first)) * channels;
        for (int i = threadIdx.x; i < count; i += blockDim.x)
            shared.x[i] = to_float(p.x[first * channels + i]);
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const int c = i % channels;
            const float scale = p.response.scale(shared.x + (i - c), c);
            p.y[first * channels + i] = from_float<T>(shared.x[i] * powf(scale, -p.response.beta));
        }
    }
};

template <class T>
struct lrn_dgrad {
    struct Params {
        T* dx;
        const T* dy;
        const T* x;
        int64 pixels;
        int pixels_of_a_block;
        Response response;
    };
    // x, then dy s^-beta, then dy x s^(-beta - 1), of the block's pixels
    struct Shared {
        float x[1];
    };

    static __device__ void run(const Params& p, Shared& shared) {
        const Response& r = p.response;
        const int channels = r.channels, size = r.size;
        const int64 first = blockIdx.x * int64(p.pixels_of_a_block);
        const int count = int(min(int64(p.pixels_of_a_block), p.pixels - first)) * channels;
        float *x = shared.x, *direct = x + p.pixels_of_a_block * channels;
        float* through = direct + p.pixels_of_a_block * channels;
        for (int i = threadIdx.x; i < count; i += blockDim.x)
            x[i] = to_float(p.x[first * channels + i]);
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const int c = i % channels;
            const float scale = r.scale(x + (i - c), c);
            direct[i] = to_float(p.dy[first * channels + i]) * powf(scale, -r.beta);
            through[i] = direct[i] * x[i] / scale;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const int c = i % channels;
            const float* of = through + (i - c);
            float sum = 0;
            const int last = min(channels - 1, c + size / 2);
            for (int j = max(0, c - (size - 1) / 2); j <= last; j++) sum += of[j];
            const float slope = 2.f * r.alpha_of_one * r.beta * x[i];
            p.dx[first * channels + i] = from_float<T>(direct[i] - slope * sum);
        }
    }
};
