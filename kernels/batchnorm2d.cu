// Batch normalization: equations in minidl/layers/batchnorm2d.py.
//
// Statistics in one pass: sums of x - shift and of its square, where the shift is the first value
// that a thread sees, so that a large mean does not cancel the variance; threads and parts merge as
// in Chan, Golub, LeVeque 1979. The rest is elementwise, with one vector for each channel. Nothing
// hides a NaN: a channel that holds an infinity or a NaN has neither mean nor variance; a sum of
// squares that overflows is an infinite variance.
// Bytes moved: statistics x once; normalize x and y once; wgrad dy and x once; dgrad dy, x, dx once.
#include "elementwise.cuh"
#include "reduce.cuh"

struct Moments {
    float count, mean, squares;  // squares: the sum of squared deviations from the mean

    __device__ void merge(const Moments& other) {
        if (other.count == 0) return;
        if (count == 0) {  // the square of a large mean overflows, and infinity times 0 is NaN
            *this = other;
            return;
        }
        const float part = other.count / (count + other.count), step = other.mean - mean;
        squares += other.squares + step * step * (count * part);
        mean += step * part;
        count += other.count;
    }
};

struct ShiftedMoments {
    static constexpr float UNIT = 16777216.f;  // of sums, which then hold 2^24 of the largest floats
    float count, shift, sum, squares;

    __device__ void take(float x) {
        if (count == 0) shift = x;
        const float d = x - shift;
        count += 1;
        sum = fmaf(d, 1.f / UNIT, sum);
        squares = fmaf(d, d, squares);
    }
    __device__ Moments moments() const {
        if (count == 0) return {0, 0, 0};
        const float beyond = sum / count * UNIT;
        const float around = fmaxf(0.f, squares - beyond * (sum * UNIT));
        return {count, shift + beyond, squares < infinity() ? around : squares};
    }
    __device__ void set(const Moments& m) {
        count = m.count;
        shift = m.mean;
        sum = 0;
        squares = m.squares;
    }
    __device__ void merge(const ShiftedMoments& other) {
        Moments m = moments();
        m.merge(other.moments());
        set(m);
    }
};

template <class T>
struct Pixels {
    const T* x;
    int64 pitch;
    __device__ void take(ShiftedMoments& m, int64 row, int column) const {
        m.take(to_float(x[row * pitch + column]));
    }
};

struct Statistics {
    float *mean, *inv_std, *running_mean, *running_var;
    int64* batches;
    float eps, momentum, keep, unbias;  // keep: 1 - momentum

    __device__ void give(const ShiftedMoments& sum, int, int c) const {
        const Moments m = sum.moments();
        const float lost = m.mean - m.mean;  // 0, or NaN where the mean is not finite
        const float middle = m.mean + lost, var = m.squares / m.count + lost;
        mean[c] = middle;
        inv_std[c] = 1.f / sqrtf(var + eps);
        running_mean[c] = running_mean[c] * keep + middle * momentum;
        running_var[c] = running_var[c] * keep + var * (momentum * unbias);
        if (c == 0) *batches += 1;
    }
};

template <class T>
using batchnorm2d_statistics_parts = ReduceColumns<ShiftedMoments, Pixels<T>, Partials<ShiftedMoments>>;
using batchnorm2d_statistics = ReduceColumns<ShiftedMoments, Partials<ShiftedMoments>, Statistics>;

struct batchnorm2d_normalize {
    __device__ void operator()(
        float& y, float x, float mean, float inv_std, float gamma, float beta) const {
        y = (x - mean) * (inv_std * gamma) + beta;
    }
};

struct batchnorm2d_inference {
    float eps;
    __device__ void operator()(
        float& y, float x, float gamma, float beta, float running_mean, float running_var) const {
        y = (x - running_mean) * (1.f / sqrtf(running_var + eps) * gamma) + beta;
    }
};

struct Gradients {
    float sum, product;
    __device__ void merge(const Gradients& other) {
        sum += other.sum;
        product += other.product;
    }
};

template <class T>
struct Arriving {
    const T *dy, *x;
    const float* mean;
    int64 dy_pitch, x_pitch;
    __device__ void take(Gradients& g, int64 row, int column) const {
        const float dy = to_float(this->dy[row * dy_pitch + column]);
        g.sum += dy;
        g.product = fmaf(dy, to_float(x[row * x_pitch + column]) - mean[column], g.product);
    }
};

struct WeightGradients {
    float *dgamma, *dbeta;
    const float* inv_std;
    __device__ void give(const Gradients& g, int, int column) const {
        dgamma[column] = g.product * inv_std[column];
        dbeta[column] = g.sum;
    }
};

template <class T>
using batchnorm2d_wgrad_parts = ReduceColumns<Gradients, Arriving<T>, Partials<Gradients>>;
using batchnorm2d_wgrad = ReduceColumns<Gradients, Partials<Gradients>, WeightGradients>;

struct batchnorm2d_dgrad {
    float count;
    __device__ void operator()(
        float& dx, float dy, float x, float gamma, float mean, float inv_std, float dgamma,
        float dbeta) const {
        const float inner = fmaf(x - mean, inv_std * dgamma / count, dbeta / count);
        dx = (dy - inner) * (gamma * inv_std);
    }
};
