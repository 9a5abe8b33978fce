// What every kernel has in which many training steps run, one after another, in one launch (text.py writes the
// kernels themselves, from the recorded step). All blocks run at once; where a step needs what others made, they meet.
#ifndef REAL
#define REAL float
#endif
#define INFINITE (1.0 / 0.0)
#define NOT_A_NUMBER (INFINITE - INFINITE)

struct alignas(4 * sizeof(REAL) < 16 ? 4 * sizeof(REAL) : 16) Four {
    REAL x[4];
};

// The number of the thread. The compiler does not know that it is the same each time, so that what follows from it is
// computed anew, and takes no registers from one step to the next.
__device__ __forceinline__ int thread() {
#ifdef __CUDA_ARCH__
    int number;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(number));
    return number;
#else
    return int(threadIdx.x);
#endif
}

// What goes from block to block passes by the caches of their multiprocessors.
template <typename T> __device__ __forceinline__ T look(const T* at) { return __ldcg(at); }
template <typename T> __device__ __forceinline__ void leave(T* at, T value) { __stcg(at, value); }
template <typename T> __device__ __forceinline__ void leave_four(T* at, const T (&x)[4]) {
    if constexpr (sizeof(T) == 4) {
        __stcg(reinterpret_cast<float4*>(at), make_float4(x[0], x[1], x[2], x[3]));
    } else {
        __stcg(reinterpret_cast<double2*>(at), make_double2(x[0], x[1]));
        __stcg(reinterpret_cast<double2*>(at) + 1, make_double2(x[2], x[3]));
    }
}

__device__ __forceinline__ unsigned arrived(unsigned* count) {
#ifdef __CUDA_ARCH__
    unsigned seen;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(count) : "memory");
    return seen;
#else
    __nanosleep(20);
    return atomicAdd(count, 0u);
#endif
}

// All blocks come here before any goes on. target: how often blocks have arrived by then, since the launch began.
__device__ inline void meet(unsigned* count, unsigned target) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(count, 1u);
        while (arrived(count) < target) {
        }
        __threadfence();
    }
    __syncthreads();
}

// The sum over so many neighbouring lanes, a power of two, in each of them.
template <int lanes, typename T> __device__ __forceinline__ T sum_of_lanes(T x) {
#pragma unroll
    for (int by = lanes / 2; by; by /= 2) x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

// z = a w for one row of `from` numbers. w has `to` columns, or, turned, as many rows. The threads of a block.
template <int threads, int lanes, int from, int to, bool turned>
__device__ __forceinline__ void row_product(const REAL* a, const REAL* w, REAL* z) {
    const int t = thread(), first = t % lanes;
    for (int begin = 0; begin < to; begin += threads / lanes) {
        int column = begin + t / lanes;
        REAL sum = 0;
        if (column < to) {
#pragma unroll 8
            for (int k = first; k < from; k += lanes) sum += a[k] * look(w + (turned ? column * from + k : k * to + column));
        }
        sum = sum_of_lanes<lanes>(sum);
        if (column < to && first == 0) z[column] = sum;
    }
}

// What a thread has of rows · columns numbers that lie in `from` rows: of column j of the second by column i of the first.
template <int lanes, int rows>
__device__ __forceinline__ REAL sum_of_products(const REAL* a, int i, int wide, const REAL* b, int j, int broad) {
    REAL sum = 0;
#pragma unroll 4
    for (int r = thread() % lanes; r < rows; r += lanes) sum += look(a + r * wide + i) * look(b + r * broad + j);
    return sum;
}

template <int lanes, int rows> __device__ __forceinline__ REAL sum_of_column(const REAL* b, int j, int broad) {
    REAL sum = 0;
#pragma unroll 4
    for (int r = thread() % lanes; r < rows; r += lanes) sum += look(b + r * broad + j);
    return sum;
}

// The rows' partial products with this block's part of the first weights: x has a column for each row, w `quads` times 4
// columns; the result has `apart` numbers a row.
template <int threads, int rows, int depth, int quads>
__device__ __forceinline__ void partial_products(const REAL* x, const REAL* w, REAL* z, int apart) {
    for (int item = thread(); item < rows * quads; item += threads) {
        int row = item % rows, quad = item / rows;
        REAL sums[4] = {0, 0, 0, 0};
#pragma unroll 7
        for (int k = 0; k < depth; ++k) {
            REAL value = x[k * (rows + 1) + row];
            Four weight = reinterpret_cast<const Four*>(w)[k * quads + quad];
#pragma unroll
            for (int j = 0; j < 4; ++j) sums[j] += value * weight.x[j];
        }
        leave_four(z + row * apart + quad * 4, sums);
    }
}

// The gradient of this block's part of the first weights, in `split` sums over rows each: dz has `quads` times 4 columns.
template <int threads, int rows, int depth, int quads, int split>
__device__ __forceinline__ void partial_gradients(const REAL* x, const REAL* dz, REAL* sums_of) {
    constexpr int some = (rows + split - 1) / split;
    for (int item = thread(); item < depth * quads * split; item += threads) {
        int quad = item % quads, k = item / quads % depth, part = item / (quads * depth);
        REAL sums[4] = {0, 0, 0, 0};
#pragma unroll 8
        for (int r = part * some; r < min(rows, part * some + some); ++r) {
            REAL value = x[k * (rows + 1) + r];
            Four weight = reinterpret_cast<const Four*>(dz)[r * quads + quad];
#pragma unroll
            for (int j = 0; j < 4; ++j) sums[j] += value * weight.x[j];
        }
        Four result = {{sums[0], sums[1], sums[2], sums[3]}};
        reinterpret_cast<Four*>(sums_of)[item] = result;
    }
}

// Where the greatest of a row is, the first of them or the first NaN; the lanes of a warp.
template <typename T> __device__ __forceinline__ int place_of_greatest(const T* x, int count) {
    int lane = thread() % 32, place = lane < count ? lane : 0;
    T best = x[place];
    for (int i = lane + 32; i < count; i += 32)
        if (x[i] > best || (x[i] != x[i] && best == best)) best = x[i], place = i;
#pragma unroll
    for (int by = 16; by; by /= 2) {
        T other = __shfl_xor_sync(0xffffffffu, best, by);
        int there = __shfl_xor_sync(0xffffffffu, place, by);
        bool greater = other > best || (other != other && best == best);
        bool alike = other == best || (other != other && best != best);
        if (greater || (alike && there < place)) best = other, place = there;
    }
    return place;
}
