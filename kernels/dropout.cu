// Dropout: y = scale x where word(i) >= threshold, else +0. Backward is the same on dy.
//
// word(i) is word i % 4 of Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011) at counter
// (i / 4, step, stream) under the run's key, both read from the arena: minidl/philox.py.
// Grid: one thread for the 4 elements of a block of words. Bytes moved: x and y once each.
#include "platform.cuh"

struct Words {
    uint32 at[4];
};

__device__ __forceinline__ Words philox(uint64 block, uint32 step, uint32 stream, uint64 key) {
    uint32 a = uint32(block), b = uint32(block >> 32), c = step, d = stream;
    uint32 left = uint32(key), right = uint32(key >> 32);
#pragma unroll
    for (int i = 0; i < 10; i++) {
        const uint64 first = uint64(a) * 0xD2511F53u, second = uint64(c) * 0xCD9E8D57u;
        a = uint32(second >> 32) ^ b ^ left;
        c = uint32(first >> 32) ^ d ^ right;
        b = uint32(second);
        d = uint32(first);
        left += 0x9E3779B9u;
        right += 0xBB67AE85u;
    }
    return {{a, b, c, d}};
}

template <class T, int V>
struct dropout_forward {
    struct Params {
        T* y;
        const T* x;
        const uint64* key;
        const int64* step;
        int64 size;
        uint64 threshold;
        uint32 stream;
        float scale;
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 block = thread_index();
        if (block * 4 >= p.size) return;
        const Words words = philox(block, uint32(*p.step), p.stream, *p.key);
#pragma unroll
        for (int j = 0; j < 4; j += V) {
            const int64 i = block * 4 + j;
            if (i >= p.size) return;
            float x[V];
            load(x, p.x + i);
#pragma unroll
            for (int v = 0; v < V; v++) x[v] = words.at[j + v] >= p.threshold ? x[v] * p.scale : 0.f;
            store(p.y + i, x);
        }
    }
};

template <class T, int V>
using dropout_dgrad = dropout_forward<T, V>;
