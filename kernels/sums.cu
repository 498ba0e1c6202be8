// gradient_sum: the contributions of several readers of one tensor, from left to right.
//
// Each partial sum is rounded to T, as it is where the sums are made one by one.
#include "elementwise.cuh"

template <class T>
struct gradient_sum {
    __device__ static float sum(float total) { return total; }
    template <class... More>
    __device__ static float sum(float total, float next, More... more) {
        return sum(to_float(from_float<T>(total + next)), more...);
    }
    template <class... More>
    __device__ void operator()(float& y, More... gradients) const {
        y = sum(gradients...);
    }
};
