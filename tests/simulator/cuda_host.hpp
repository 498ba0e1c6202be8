// CUDA's language for g++: stands in front of a kernel source, which then runs on runtime.cpp.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

struct dim3 {
    unsigned x, y, z;
};

// What the running CUDA thread knows of itself; the runtime sets it at each switch.
struct SimThread {
    dim3 thread, block, block_dim, grid_dim;
};

extern "C" {
extern SimThread sim_now;
int sim_lane();
void* sim_shared();
void sim_barrier(int line);
void sim_warp_barrier();
// Every lane of the warp gives `bytes` bytes; `all` receives 32 times as many, by lane.
void sim_exchange(const void* mine, int bytes, void* all);
// Every lane gives a pointer, and the last to come has `work` do the warp's part once for all.
void sim_together(void* mine, void (*work)(void* const* lanes));
void sim_copy_async(void* to, const void* from, const void* any, int bytes);
void sim_commit_copies();
void sim_wait_copies(int pending);
[[noreturn]] void sim_misaligned(int bytes);
}

// A GPU loads and stores `bytes` bytes at a multiple of them, or ends the context.
inline void sim_aligned(const void* p, int bytes) {
    if (reinterpret_cast<uintptr_t>(p) % unsigned(bytes)) sim_misaligned(bytes);
}

#define threadIdx (sim_now.thread)
#define blockIdx (sim_now.block)
#define blockDim (sim_now.block_dim)
#define gridDim (sim_now.grid_dim)
#define __device__
#define __forceinline__ inline
#define __syncthreads() sim_barrier(__LINE__)
#define __syncwarp() sim_warp_barrier()

template <class T>
inline T __shfl_xor_sync(unsigned, T x, int distance) {
    T all[32];
    sim_exchange(&x, sizeof x, all);
    return all[sim_lane() ^ distance];
}

inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

template <class T>
inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
inline T max(T a, T b) {
    return a < b ? b : a;
}
