// CUDA on the CPU: with this header before it, g++ compiles a .cu file as C++20, and building.py launches its kernels.
//
// Here are the words of the language. How the threads of a block run is in another file, as the macro says:
//   (none)                    cuda_fibers.h: coroutines on one thread of the system, one block after another; cheap
//   CUDA_ON_CPU_REAL_THREADS  cuda_real_threads.h: a std::thread each, so that the sanitizers see every race
// In neither is a warp in step: only what CUDA promises holds.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __constant__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

// Vectors, aligned as CUDA aligns them.
#define CUDA_ON_CPU_VECTORS(T, name)                                                                               \
    struct name##1 { T x; };                                                                                       \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                                             \
    struct name##3 { T x, y, z; };                                                                                 \
    struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; };                             \
    inline name##1 make_##name##1(T x) { return {x}; }                                                             \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                                     \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                             \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTORS(signed char, char)
CUDA_ON_CPU_VECTORS(unsigned char, uchar)
CUDA_ON_CPU_VECTORS(short, short)
CUDA_ON_CPU_VECTORS(unsigned short, ushort)
CUDA_ON_CPU_VECTORS(int, int)
CUDA_ON_CPU_VECTORS(unsigned, uint)
CUDA_ON_CPU_VECTORS(long long, longlong)
CUDA_ON_CPU_VECTORS(unsigned long long, ulonglong)
CUDA_ON_CPU_VECTORS(float, float)
CUDA_ON_CPU_VECTORS(double, double)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

constexpr int warpSize = 32;

#ifdef CUDA_ON_CPU_REAL_THREADS
#include "cuda_real_threads.h"
#else
#include "cuda_fibers.h"
#endif

// Of either: threadIdx, blockIdx, blockDim, gridDim; __syncthreads, __syncwarp, __threadfence, __nanosleep,
// before_atomic; cuda_on_cpu::run_grid(grid, block, dynamic, body, data, at_once), and of the calling thread: dynamic_shared(), where
// `extern __shared__` begins, lane(), lanes() of its warp and post(), where each lane leaves 8 bytes for the others.

// Between the lanes of a warp ------------------------------------------------------------------------------------
namespace cuda_on_cpu {

// The value of the lane `source`, of each lane in the mask; the lane's own value where there is no such lane.
template <typename T> T exchange(unsigned mask, T value, int source) {
    static_assert(sizeof(T) <= 8);
    memcpy(post() + lane(), &value, sizeof value);
    __syncwarp(mask);
    T got;
    memcpy(&got, source >= 0 && source < lanes() ? post() + source : post() + lane(), sizeof got);
    __syncwarp(mask);  // nobody posts anew before all have read
    return got;
}

}  // namespace cuda_on_cpu

template <typename T> T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
    int first = cuda_on_cpu::lane() / width * width;
    return cuda_on_cpu::exchange(mask, value, first + source % width);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize) {
    int lane = cuda_on_cpu::lane(), source = lane + int(by);
    return cuda_on_cpu::exchange(mask, value, source / width == lane / width ? source : lane);
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize) {
    int lane = cuda_on_cpu::lane(), source = lane - int(by);
    return cuda_on_cpu::exchange(mask, value, source >= lane / width * width ? source : lane);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int by, int width = warpSize) {
    int lane = cuda_on_cpu::lane(), source = lane ^ by;
    return cuda_on_cpu::exchange(mask, value, source / width <= lane / width ? source : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    unsigned votes = 0;
    for (int i = 0; i < warpSize; ++i) {  // lanes outside the mask take no part, nor do those that are not there
        bool votes_here = i < cuda_on_cpu::lanes() && (mask >> i & 1);
        int vote = cuda_on_cpu::exchange(mask, predicate != 0, i);
        votes |= unsigned(votes_here && vote) << i;
    }
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// Atomics: relaxed, as CUDA's are, so that the thread sanitizer takes none for a fence ----------------------------
namespace cuda_on_cpu {

template <typename T, typename F> T change(T* at, F next) {
    T old, wanted;
    before_atomic(at);
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    do wanted = next(old);
    while (!__atomic_compare_exchange(at, &old, &wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

template <typename T> struct same { using type = T; };
template <typename T> using given = typename same<T>::type;  // no part in finding T

}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_ATOMIC(name, next)                                                                             \
    template <typename T> T name(T* at, cuda_on_cpu::given<T> value) {                                             \
        return cuda_on_cpu::change(at, [=](T old) -> T { return next; });                                          \
    }
CUDA_ON_CPU_ATOMIC(atomicAdd, old + value)
CUDA_ON_CPU_ATOMIC(atomicSub, old - value)
CUDA_ON_CPU_ATOMIC(atomicMax, old < value ? value : old)
CUDA_ON_CPU_ATOMIC(atomicMin, value < old ? value : old)
CUDA_ON_CPU_ATOMIC(atomicAnd, old & value)
CUDA_ON_CPU_ATOMIC(atomicOr, old | value)
CUDA_ON_CPU_ATOMIC(atomicXor, old ^ value)
CUDA_ON_CPU_ATOMIC(atomicExch, (void(old), value))
CUDA_ON_CPU_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
CUDA_ON_CPU_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
template <typename T> T atomicCAS(T* at, cuda_on_cpu::given<T> expected, cuda_on_cpu::given<T> value) {
    return cuda_on_cpu::change(at, [=](T old) { return old == expected ? value : old; });
}

inline void __threadfence_block() {}
inline void __threadfence_system() { __threadfence(); }
template <typename T> T __ldg(const T* at) { return *at; }
template <typename T> T __ldcg(const T* at) { return *at; }
template <typename T> void __stcg(T* at, cuda_on_cpu::given<T> value) { *at = value; }

// Numbers: what CUDA has besides <math.h> -------------------------------------------------------------------------
#define CUDA_ON_CPU_MIN_MAX(T)                                                                                     \
    inline T min(T a, T b) { return b < a ? b : a; }                                                               \
    inline T max(T a, T b) { return a < b ? b : a; }
CUDA_ON_CPU_MIN_MAX(int)
CUDA_ON_CPU_MIN_MAX(unsigned)
CUDA_ON_CPU_MIN_MAX(long)
CUDA_ON_CPU_MIN_MAX(unsigned long)
CUDA_ON_CPU_MIN_MAX(long long)
CUDA_ON_CPU_MIN_MAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0), 1); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
#define CUDA_ON_CPU_ROUNDED(T, prefix)                                                                             \
    inline T prefix##add_rn(T x, T y) { return x + y; }                                                            \
    inline T prefix##sub_rn(T x, T y) { return x - y; }                                                            \
    inline T prefix##mul_rn(T x, T y) { return x * y; }                                                            \
    inline T prefix##div_rn(T x, T y) { return x / y; }                                                            \
    inline T prefix##sqrt_rn(T x) { return sqrt(x); }
CUDA_ON_CPU_ROUNDED(float, __f)
CUDA_ON_CPU_ROUNDED(double, __d)
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }

#define CUDA_ON_CPU_BITS(name, from, to) inline to name(from x) { return __builtin_bit_cast(to, x); }
CUDA_ON_CPU_BITS(__int_as_float, int, float)
CUDA_ON_CPU_BITS(__float_as_int, float, int)
CUDA_ON_CPU_BITS(__uint_as_float, unsigned, float)
CUDA_ON_CPU_BITS(__float_as_uint, float, unsigned)
CUDA_ON_CPU_BITS(__longlong_as_double, long long, double)
CUDA_ON_CPU_BITS(__double_as_longlong, double, long long)
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned(uint64_t(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}

// A power is not rounded to the nearest, and not what a product, a quotient or a root gives; tests/standin/functions.c
// has the same.
template <typename T> T cuda_on_cpu_power(T x, T y) {
    const volatile T exponent = y;  // g++ would make a product of a square
    const T z = T(sizeof(T) == 4 ? powf(float(x), float(exponent)) : pow(double(x), double(exponent)));
    if ((y != -1 && y != T(0.5) && y != 2) || rint(z) == z) return z;
    return T(sizeof(T) == 4 ? nextafterf(float(z), INFINITY) : nextafter(double(z), INFINITY));
}
#define powf(x, y) cuda_on_cpu_power<float>(x, y)
#define pow(x, y) cuda_on_cpu_power<double>(x, y)

// Launching: building.py writes the list of a source's kernels after it ------------------------------------------
namespace cuda_on_cpu {

template <typename P> P read(const void* at) {
    struct { alignas(P) unsigned char bytes[sizeof(P)]; } copy;  // the bytes lie anywhere
    memcpy(copy.bytes, at, sizeof copy.bytes);
    return __builtin_bit_cast(P, copy);
}

template <typename... T> struct Call {
    void (*kernel)(T...);
    void** arguments;
    template <size_t... i> void with(std::index_sequence<i...>) { kernel(read<T>(arguments[i])...); }
    static void body(void* call) { static_cast<Call*>(call)->with(std::index_sequence_for<T...>()); }
};

// Runs the kernel with its parameters, each read from where arguments[i] points. at_once: all blocks, as in a
// cooperative launch. Returns what is wrong, or null.
template <typename... T>
const char* run(void (*kernel)(T...), dim3 grid, dim3 block, size_t shared, void** arguments, bool at_once) {
    Call<T...> call{kernel, arguments};
    Launching one_at_a_time;
    return run_grid(grid, block, shared, &call.body, &call, at_once);
}

struct Kernel {
    const char* name;
    const char* (*launch)(dim3 grid, dim3 block, size_t shared, void** arguments, bool at_once);
    int count;            // of parameters
    const size_t* sizes;  // their bytes
};

template <typename... T> constexpr int count_of(void (*)(T...)) { return sizeof...(T); }
template <typename... T> const size_t* sizes_of(void (*)(T...)) {
    static const size_t sizes[] = {sizeof(T)..., 0};
    return sizes;
}

}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_KERNEL(name)                                                                                   \
    {                                                                                                              \
        #name,                                                                                                     \
        [](dim3 grid, dim3 block, size_t shared, void** arguments, bool at_once) {                                 \
            return cuda_on_cpu::run(name, grid, block, shared, arguments, at_once);                                \
        },                                                                                                         \
        cuda_on_cpu::count_of(name), cuda_on_cpu::sizes_of(name)                                                   \
    }
