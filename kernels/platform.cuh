// What every kernel stands on: how a kernel is written, the number types, vector access, division.
//
// A kernel is a type with three names:
//
//     struct Params { ... };                                    // passed by value at each launch
//     struct Shared { ... };                                    // its shared memory
//     static __device__ void run(const Params&, Shared&);       // what each thread does
//
// KERNEL(entry, threads, parameter_bytes, shared_bytes, type) makes it a function that can be
// launched. minidl writes that line, packs the parameters and asks for the shared memory, so both
// sizes are checked here. One block a multiprocessor is all that is asked for: with no number there,
// ptxas saves registers for more blocks and spills. The same sources run on a CPU, compiled by g++
// with a header in front that stands in for CUDA's language.
#pragma once

#ifdef __CUDACC__
#define KERNEL(entry, threads, parameter_bytes, shared_bytes, ...)                           \
    extern "C" __global__ void __launch_bounds__(threads, 1)                                 \
        entry(const __grid_constant__ __VA_ARGS__::Params params) {                          \
        using Kernel = __VA_ARGS__;                                                          \
        static_assert(sizeof(typename Kernel::Params) == parameter_bytes, "parameters");     \
        static_assert(__is_empty(typename Kernel::Shared) ||                                 \
                          sizeof(typename Kernel::Shared) <= shared_bytes, "shared memory"); \
        extern __shared__ __align__(16) unsigned char raw[];                                 \
        Kernel::run(params, *reinterpret_cast<typename Kernel::Shared*>(raw));               \
    }
#else
#define KERNEL(entry, threads, parameter_bytes, shared_bytes, ...)                           \
    extern "C" void entry(const void* params) {                                              \
        using Kernel = __VA_ARGS__;                                                          \
        static_assert(sizeof(typename Kernel::Params) == parameter_bytes, "parameters");     \
        static_assert(__is_empty(typename Kernel::Shared) ||                                 \
                          sizeof(typename Kernel::Shared) <= shared_bytes, "shared memory"); \
        Kernel::run(*static_cast<const typename Kernel::Params*>(params),                    \
                    *static_cast<typename Kernel::Shared*>(sim_shared()));                   \
    }
#endif

using int64 = long long;
using uint8 = unsigned char;
using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;

struct Nothing {};  // the shared memory of a kernel that has none

#include "ptx.cuh"

// ---- bfloat16: the upper half of a float32 ------------------------------------------------------

struct bf16 {
    uint16 bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(uint32(x.bits) << 16); }
__device__ __forceinline__ float to_float(uint8 x) { return float(x); }

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    return bf16{uint16(pack_bf16(x, 0.f))};
}

__device__ __forceinline__ bool is_nan(float x) { return x != x; }
__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000); }

// ---- V elements side by side: one load or store of V * sizeof(T) bytes --------------------------

template <class T, int V>
struct alignas(sizeof(T) * V) Vector {
    T at[V];
};

// The vector that begins at an element, which a GPU requires to lie at a multiple of its size.
template <int V, class T>
__device__ __forceinline__ Vector<T, V>& vector_at(T* p) {
#ifndef __CUDACC__
    sim_aligned(p, sizeof(Vector<T, V>));
#endif
    return *reinterpret_cast<Vector<T, V>*>(p);
}
template <int V, class T>
__device__ __forceinline__ const Vector<T, V>& vector_at(const T* p) {
    return vector_at<V>(const_cast<T*>(p));
}

template <int V, class T>
__device__ __forceinline__ void load(float (&to)[V], const T* from) {
    const Vector<T, V> raw = vector_at<V>(from);
#pragma unroll
    for (int i = 0; i < V; i++) to[i] = to_float(raw.at[i]);
}

template <int V, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[V]) {
    Vector<T, V> raw;
#pragma unroll
    for (int i = 0; i < V; i++) raw.at[i] = from_float<T>(from[i]);
    vector_at<V>(to) = raw;
}

// ---- division by a number that is known at launch -----------------------------------------------

// Quotient of 0 <= x < 2^31 by one multiplication: Granlund, Montgomery, Division by invariant
// integers using multiplication, PLDI 1994. Multiplier and shift are made on the host.
struct Division {
    int divisor;
    uint32 multiplier, shift;

    __device__ __forceinline__ int quotient(int x) const {
        return divisor == 1 ? x : int(__umulhi(uint32(x), multiplier) >> shift);
    }
    __device__ __forceinline__ int quotient(int x, int& rest) const {
        const int q = quotient(x);
        rest = x - q * divisor;
        return q;
    }
};

__device__ __forceinline__ int64 thread_index() {
    return int64(blockIdx.x) * blockDim.x + threadIdx.x;
}
