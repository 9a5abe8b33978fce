// What is summed for each channel; x and g are rows × channels, row by row.
//
//   channel_sums:     out[k] = Σ_i x[i, k]
//   channel_moments:  out[0, k] = mean over i of x[i, k],  out[1, k] = mean over i of (x[i, k] - out[0, k])²
//   channel_slopes:   out[0, k] = Σ_i g[i, k],             out[1, k] = Σ_i g[i, k] (x[i, k] - mean[k])
//
// Each is read once. A mean follows its elements, less those of the first row, and parts are put together as Chan, Golub &
// LeVeque (1983) have it: no digits are lost where the mean is far greater than the spread. All is added in a fixed order, so that results repeat
// to the last bit.
#include "arrival.cuh"

#ifndef REAL
#define REAL float
#endif
#ifndef SUM
#define SUM REAL
#endif

#define THREADS 256                   // of a block
#define RUN (16 / int(sizeof(REAL)))  // channels of a thread that reads 16 bytes at a time

namespace {

template <int N> struct alignas(N * sizeof(REAL)) Run {
    REAL x[N];
};

__device__ __forceinline__ bool begins_run(const REAL* x) {
    return reinterpret_cast<unsigned long long>(x) % alignof(Run<RUN>) == 0;
}

// Of some elements, less `middle`, their mean, and the sum of their squared distances from it.
struct Moments {
    static constexpr int NUMBERS = 2;
    SUM a, b;
    __device__ __forceinline__ void take(SUM x, SUM, SUM middle, SUM inverse) {
        SUM distance = x - middle - a;
        a += distance * inverse;
        b += distance * (x - middle - a);
    }
    __device__ __forceinline__ void add(const Moments& other, SUM count, SUM others) {
        SUM distance = other.a - a, part = others / (count + others);
        a += distance * part;
        b += other.b + distance * distance * (count * part);
    }
    __device__ __forceinline__ SUM first(SUM middle) const { return middle + a; }
    __device__ __forceinline__ SUM second(SUM count) const { return b / count; }
};

struct Slopes {
    static constexpr int NUMBERS = 2;
    SUM a, b;
    __device__ __forceinline__ void take(SUM x, SUM g, SUM middle, SUM) { a += g, b += g * (x - middle); }
    __device__ __forceinline__ void add(const Slopes& other, SUM, SUM) { a += other.a, b += other.b; }
    __device__ __forceinline__ SUM first(SUM) const { return a; }
    __device__ __forceinline__ SUM second(SUM) const { return b; }
};

struct Sums {
    static constexpr int NUMBERS = 1;
    SUM a;
    __device__ __forceinline__ void take(SUM x, SUM, SUM, SUM) { a += x; }
    __device__ __forceinline__ void add(const Sums& other, SUM, SUM) { a += other.a; }
    __device__ __forceinline__ SUM first(SUM) const { return a; }
    __device__ __forceinline__ SUM second(SUM) const { return a; }
};

// N channels of a thread, of `count` rows so far.
template <class Kind, int N> struct Some {
    Kind of[N];
    int count;

    __device__ __forceinline__ void add(const Some& other) {
        if (other.count > 0)
#pragma unroll
            for (int f = 0; f < N; ++f) of[f].add(other.of[f], SUM(count), SUM(other.count));
        count += other.count;
    }
};

template <class Kind, int N>
__device__ __forceinline__ void over_rows(
    const REAL* x, const REAL* g, const REAL* middle, REAL* out, SUM* partial, unsigned* arrived, int rows,
    int channels) {
    using Ours = Some<Kind, N>;
    __shared__ Ours others[THREADS];
    __shared__ bool last;
    int runs = channels / N, width = min(runs, THREADS), deep = THREADS / width, split = gridDim.y;
    if (int(blockIdx.x) * width >= runs) return;
    int run = blockIdx.x * width + threadIdx.x % width, depth = threadIdx.x / width, channel = run * N;
    bool there = run < runs && depth < deep;

    // The sum of what the threads of one run have, into that of depth 0.
    auto together = [&](Ours& some) {
        for (int left = deep; left > 1;) {
            int half = (left + 1) / 2;
            if (depth >= half && depth < left) others[threadIdx.x] = some;
            __syncthreads();
            if (depth + half < left) some.add(others[threadIdx.x + half * width]);
            left = half;
        }
    };

    int per_part = (rows - 1) / split + 1;
    auto first_of = [&](int part) { return int(min((long long)per_part * part, (long long)rows)); };
    int begin = first_of(blockIdx.y), end = first_of(blockIdx.y + 1);
    Ours some = {};
    Run<N> middles = {};
    if (there) middles = *reinterpret_cast<const Run<N>*>(middle + channel);
    if (there)
#pragma unroll 4
        for (int row = begin + depth; row < end; row += deep) {
            long long at = (long long)row * channels + channel;
            Run<N> values = *reinterpret_cast<const Run<N>*>(x + at), slopes = {};
            if (g) slopes = *reinterpret_cast<const Run<N>*>(g + at);
            SUM inverse = SUM(1) / SUM(++some.count);
#pragma unroll
            for (int f = 0; f < N; ++f) some.of[f].take(values.x[f], slopes.x[f], middles.x[f], inverse);
        }
    together(some);

    if (split > 1) {
        Kind* parts = reinterpret_cast<Kind*>(partial);
        if (there && depth == 0)
#pragma unroll
            for (int f = 0; f < N; ++f) parts[(long long)blockIdx.y * channels + channel + f] = some.of[f];
        if (!last_to_arrive(&arrived[blockIdx.x], split, last)) return;
        some = {};
        if (there)
#pragma unroll 4
            for (int part = depth; part < split; part += deep) {
                Ours more;
                more.count = first_of(part + 1) - first_of(part);
#pragma unroll
                for (int f = 0; f < N; ++f) more.of[f] = parts[(long long)part * channels + channel + f];
                some.add(more);
            }
        together(some);
    }
    if (there && depth == 0)
#pragma unroll
        for (int f = 0; f < N; ++f) {
            out[channel + f] = REAL(some.of[f].first(middles.x[f]));
            if (Kind::NUMBERS == 2) out[channels + channel + f] = REAL(some.of[f].second(SUM(rows)));
        }
}

}  // namespace

// Grid (⌈channels / THREADS⌉, split), block THREADS; rows and channels > 0. Where channels are a multiple of RUN, a
// thread takes as many at once.
//
// With split > 1, each part of the rows goes by itself into partial, which has as many elements as `split` of out, and the
// last block to arrive at its channels puts the parts together in order. arrived has a 0 for each block of the grid's x, and
// has it again afterwards. Else both may be null.
extern "C" __global__ void __launch_bounds__(THREADS) channel_sums(
    const REAL* __restrict__ x, REAL* __restrict__ out, SUM* partial, unsigned* arrived, int rows, int channels) {
    if (channels % RUN == 0 && begins_run(x))
        over_rows<Sums, RUN>(x, nullptr, x, out, partial, arrived, rows, channels);
    else
        over_rows<Sums, 1>(x, nullptr, x, out, partial, arrived, rows, channels);
}

extern "C" __global__ void __launch_bounds__(THREADS) channel_moments(
    const REAL* __restrict__ x, REAL* __restrict__ out, SUM* partial, unsigned* arrived, int rows, int channels) {
    if (channels % RUN == 0 && begins_run(x))
        over_rows<Moments, RUN>(x, nullptr, x, out, partial, arrived, rows, channels);
    else
        over_rows<Moments, 1>(x, nullptr, x, out, partial, arrived, rows, channels);
}

extern "C" __global__ void __launch_bounds__(THREADS) channel_slopes(
    const REAL* __restrict__ g, const REAL* __restrict__ x, const REAL* __restrict__ mean, REAL* __restrict__ out,
    SUM* partial, unsigned* arrived, int rows, int channels) {
    if (channels % RUN == 0 && begins_run(g) && begins_run(x) && begins_run(mean))
        over_rows<Slopes, RUN>(x, g, mean, out, partial, arrived, rows, channels);
    else
        over_rows<Slopes, 1>(x, g, mean, out, partial, arrived, rows, channels);
}
