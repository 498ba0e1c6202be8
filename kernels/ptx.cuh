// All inline PTX, each instruction beside what it does on a CPU.
//
// cp.async     copies global to shared memory without registers; done at the latest at its wait.
// ldmatrix     four 8x8 matrices of 16-bit elements into one warp's registers.
// mma.sync     d = a b + c for one warp: bf16 16x8x16 and TF32 16x8x8, float32 sums.
// Fragment layouts: PTX ISA, "Warp-level Matrix Instructions". With g = lane / 4, t = lane % 4:
//   bf16  a[0..3]: (g, 2t) (g+8, 2t) (g, 2t+8) (g+8, 2t+8), two columns each; b[0..1]: rows 2t, 2t+8
//   tf32  a[0..3]: (g, t) (g+8, t) (g, t+4) (g+8, t+4);                       b[0..1]: rows t, t+4
//   d[0..3]: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1); b's column is g.
#pragma once

#ifdef __CUDACC__

__device__ __forceinline__ uint32 shared_address(const void* p) {
    return uint32(__cvta_generic_to_shared(p));
}

// A number or a pointer of which the compiler knows no more than that: what is added to it in a loop is
// added to it, and not to the parts that it was made of.
__device__ __forceinline__ int opaque(int x) {
    asm("" : "+r"(x));
    return x;
}
template <class T>
__device__ __forceinline__ T* opaque(T* x) {
    asm("" : "+l"(x));
    return x;
}

// `BYTES` (4, 8 or 16) from global to shared memory; zeros, and nothing is read, if not `there`.
template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool there) {
    const int bytes = there ? BYTES : 0;
    if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                     "l"(from), "r"(bytes)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)),
                     "l"(from), "n"(BYTES), "r"(bytes)
                     : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Wait until at most N of this thread's groups are still under way.
template <int N>
__device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Both rounded to nearest even; `low` in the lower half.
__device__ __forceinline__ uint32 pack_bf16(float low, float high) {
    uint32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
// float32 rounded to TF32's 10 bits of mantissa, ties away from zero.
__device__ __forceinline__ uint32 round_tf32(float x) {
    uint32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}

// Matrix i's row j starts at the address that lane 8 i + j gives; lane l gets of each matrix
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4, or of column l / 4 when transposed.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(uint32 (&to)[4], const void* row) {
    const uint32 address = shared_address(row);
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address)
                     : "memory");
}

__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else  // on a CPU

template <class T>
inline T opaque(T x) {
    return x;
}
template <int BYTES>
inline void copy_async(void* to, const void* from, bool there) {
    sim_copy_async(to, there ? from : nullptr, from, BYTES);
}
inline void commit_copies() { sim_commit_copies(); }
template <int N>
inline void wait_copies() {
    sim_wait_copies(N);
}

inline uint32 round_bf16(float x) {
    const uint32 bits = __float_as_uint(x);
    if (x != x) return 0x7fff;
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
inline uint32 pack_bf16(float low, float high) { return round_bf16(high) << 16 | round_bf16(low); }
inline uint32 round_tf32(float x) {
    const uint32 bits = __float_as_uint(x);
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & 0xffffe000;
}

template <bool TRANSPOSED>
inline void load_matrices(uint32 (&to)[4], const void* row) {
    const uint16* rows[32];
    sim_aligned(row, 16);
    sim_exchange(&row, sizeof row, rows);
    const int g = sim_lane() / 4, t = sim_lane() % 4;
    for (int i = 0; i < 4; i++) {
        const uint16* const* of = rows + 8 * i;
        const uint32 low = TRANSPOSED ? of[2 * t][g] : of[g][2 * t];
        const uint32 high = TRANSPOSED ? of[2 * t + 1][g] : of[g][2 * t + 1];
        to[i] = high << 16 | low;
    }
}

// One thread's registers of a product D += A B, A of 16 x K, B of K x 8 numbers, in rows of K.
struct SimFragments {
    float* d;
    const uint32 *a, *b;
};
inline float sim_bf16_half(uint32 both, int odd) {
    return __uint_as_float(odd ? both & 0xffff0000 : both << 16);
}
inline void sim_spread_bf16(const SimFragments& mine, int g, int t, float (&a)[16][16],
                            float (&b)[8][16]) {
    for (int i = 0; i < 8; i++)
        a[g + i / 2 % 2 * 8][i / 4 * 8 + 2 * t + i % 2] = sim_bf16_half(mine.a[i / 2], i % 2);
    for (int i = 0; i < 4; i++)
        b[g][i / 2 * 8 + 2 * t + i % 2] = sim_bf16_half(mine.b[i / 2], i % 2);
}
inline void sim_spread_tf32(const SimFragments& mine, int g, int t, float (&a)[16][8],
                            float (&b)[8][8]) {
    for (int i = 0; i < 4; i++)
        a[g + i % 2 * 8][i / 2 * 4 + t] = __uint_as_float(mine.a[i] & 0xffffe000);
    for (int i = 0; i < 2; i++)
        b[g][i * 4 + t] = __uint_as_float(mine.b[i] & 0xffffe000);
}
// The whole warp's product, once all of its threads have given their registers.
template <int K, void SPREAD(const SimFragments&, int, int, float (&)[16][K], float (&)[8][K])>
inline void sim_mma(void* const* lanes) {
    float a[16][K], b[8][K];
    for (int lane = 0; lane < 32; lane++)
        SPREAD(*static_cast<const SimFragments*>(lanes[lane]), lane / 4, lane % 4, a, b);
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        float* d = static_cast<const SimFragments*>(lanes[lane])->d;
        const float *low = a[g], *high = a[g + 8], *even = b[2 * t], *odd = b[2 * t + 1];
        float d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
        for (int k = 0; k < K; k++) {
            d0 += low[k] * even[k];
            d1 += low[k] * odd[k];
            d2 += high[k] * even[k];
            d3 += high[k] * odd[k];
        }
        d[0] = d0, d[1] = d1, d[2] = d2, d[3] = d3;
    }
}
inline void mma_bf16(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    SimFragments mine = {d, a, b};
    sim_together(&mine, sim_mma<16, sim_spread_bf16>);
}
inline void mma_tf32(float (&d)[4], const uint32 (&a)[4], const uint32 (&b)[2]) {
    SimFragments mine = {d, a, b};
    sim_together(&mine, sim_mma<8, sim_spread_tf32>);
}

#endif
