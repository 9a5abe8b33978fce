// Convolution over the two axes of maps, and its adjoint in the input.
//
//   convolution:             y[n, i, k] = Σ_{a, c} x[n, i · stride + a · dilation - before, c] w[a, c, k]  (+ bias[k])
//   transposed_convolution:  x[n, r, c] = Σ_{a, k} y[n, i, k] w[a, c, k]  (+ bias[c]),
//                            where i · stride + a · dilation - before = r
//
// Each sum is a product of matrices, whose elements are gathered from the maps while it runs.
#include "windows.cuh"

#define TILE_M 128      // rows of the product that a block computes
#define TILE_N 32       // columns of it; half as many for few filters
#define TILE_K 16       // terms of the sum that are in shared memory at a time
#define CELL 4          // windows whose greatest is taken where pooling follows
#define TERMS 32        // terms of a sum that is taken without panels
#define SHORT_N 16      // filters of a thread then
#define INFINITE (1.0 / 0.0)

namespace {

struct alignas(4) FourBytes {
    unsigned char x[4];
};

// One thread's elements of a panel, TILE_K × WIDTH of a matrix with rows, on their way to shared memory: a warp reads
// along the width.
template <int WIDTH> struct RowPanel {
    static constexpr int STEP = THREADS / WIDTH, MOVING = TILE_K / STEP;
    const REAL* x;
    unsigned pitch;
    int k, end;
    bool there;
    REAL values[MOVING];

    static __device__ int across() { return threadIdx.x % WIDTH; }
    static __device__ int first_term() { return threadIdx.x / WIDTH; }

    // Of the columns from `first` on there are `count`, of the rows `end`.
    __device__ RowPanel(const REAL* x, unsigned pitch, int end, int first, int count)
        : x(x + first + across() + first_term() * pitch), pitch(pitch), k(first_term()), end(end),
          there(first + across() < count) {}

    __device__ __forceinline__ void load() {
#pragma unroll
        for (int v = 0; v < MOVING; ++v) {
            values[v] = there && k < end ? *x : REAL(0);
            x += STEP * pitch, k += STEP;
        }
    }

    __device__ __forceinline__ void store(REAL (*tile)[WIDTH + 4]) const {
#pragma unroll
        for (int v = 0; v < MOVING; ++v) tile[first_term() + v * STEP][across()] = values[v];
    }
};

// The same of a matrix whose elements are gathered from maps: RUN terms next to each other for each of some places
// across. Two threads read 32 bytes at a place; what a warp then writes lies in different banks.
template <class Terms, int WIDTH> struct Panel {
    static constexpr int RUNS = TILE_K / RUN, BESIDE = RUNS / 2, ACROSS = 16 * (THREADS / 32 / BESIDE),
                         PLACES = WIDTH > ACROSS ? WIDTH / ACROSS : 1;
    const REAL* map;
    int height, width, k, end;
    bool runs;
    Terms terms;
    Point fixed[PLACES];
    Run<REAL, RUN> values[PLACES];

    static __device__ int across() { return threadIdx.x % 32 / 2 + threadIdx.x / 32 / BESIDE * 16; }
    static __device__ int first_term() { return (threadIdx.x / 32 % BESIDE * 2 + threadIdx.x % 2) * RUN; }

    // place: of an element across, counted from the operand's first, the point; all of them have one below `count`.
    // each: as many terms as always lie next to each other.
    template <class Across>
    __device__ Panel(
        const REAL* map, int height, int width, const Terms& terms, int each, int end, int first, int count,
        Across place)
        : map(map), height(height), width(width), k(first_term()), end(end),
          runs(each % RUN == 0 && begins_run<RUN>(map)), terms(terms) {
#pragma unroll
        for (int f = 0; f < PLACES; ++f) {
            int c = across() + f * ACROSS;
            fixed[f] = c < WIDTH && first + c < count ? place(first + c) : Point{NOWHERE, 0, 0};
        }
    }

    __device__ __forceinline__ void load() {
        Terms each = terms;
#pragma unroll
        for (int e = 0; e < RUN; ++e) {
            Point at = each.point();
            if (k + e >= end) at.y = NOWHERE;
#pragma unroll
            for (int f = 0; f < PLACES; ++f) {
                bool there = inside(height, width, fixed[f], at);
                const REAL* from = map + (fixed[f].at + at.at);
                if (runs)
                    values[f] = there ? *reinterpret_cast<const Run<REAL, RUN>*>(from) : Run<REAL, RUN>{};
                else
                    values[f].x[e] = there ? *from : REAL(0);
            }
            if (runs) break;
            each.next();
        }
        terms.advance(), k += TILE_K;
    }

    __device__ __forceinline__ void store(REAL (*tile)[WIDTH + 4]) const {
#pragma unroll
        for (int f = 0; f < PLACES; ++f)
#pragma unroll
            for (int e = 0; e < RUN; ++e)
                if (WIDTH >= ACROSS || across() < WIDTH) tile[first_term() + e][across() + f * ACROSS] = values[f].x[e];
    }
};

// The rows and columns of a tile of TILE_M × N that a thread computes: HEIGHT · 4, from row() and column() on.
template <int N> struct Part {
    static constexpr int HEIGHT = TILE_M * N / 4 / THREADS;
    static __device__ __forceinline__ int row() { return threadIdx.x / (N / 4) * HEIGHT; }
    static __device__ __forceinline__ int column() { return threadIdx.x % (N / 4) * 4; }
};

// sums[i][j] = Σ over `terms` of left and right, at the thread's row i and column j.
template <int N, class Left, class Right>
__device__ __forceinline__ void multiply(Left& left, Right& right, int terms, SUM (&sums)[Part<N>::HEIGHT][4]) {
    __shared__ __align__(16) REAL tile_left[2][TILE_K][TILE_M + 4];
    __shared__ __align__(16) REAL tile_right[2][TILE_K][N + 4];
    int row = Part<N>::row(), column = Part<N>::column();
    if (terms > 0) left.load(), right.load();
    // Tiles take turns in two buffers, so that one barrier does: whoever is past it has left the other buffer.
    for (int turn = 0; terms > 0; terms -= TILE_K, turn ^= 1) {
        left.store(tile_left[turn]);
        right.store(tile_right[turn]);
        __syncthreads();
        if (terms > TILE_K) left.load(), right.load();
#pragma unroll
        for (int first = 0; first < TILE_K; first += 4) {
            if (first >= terms) break;
#pragma unroll
            for (int term = first; term < first + 4; ++term) {  // past the end are zeros
                Four y = *reinterpret_cast<const Four*>(&tile_right[turn][term][column]);
#pragma unroll
                for (int i = 0; i < Part<N>::HEIGHT; i += 4) {
                    Four x = *reinterpret_cast<const Four*>(&tile_left[turn][term][row + i]);
#pragma unroll
                    for (int f = 0; f < 4; ++f)
#pragma unroll
                        for (int j = 0; j < 4; ++j) sums[i + f][j] += SUM(x.x[f]) * SUM(y.x[j]);
                }
            }
        }
    }
}

// One axis of the elements of x with the same remainder of (r + before) / stride: r = first + u · stride for u < count.
// The windows over them are at i = begin + u - t · step, with the place a = place + t · places, for t < size.
struct Phase {
    int first, count, begin, step, place, places, size;

    __device__ Phase(int remainder, int length, int size_of_window, int stride, int dilation, int before) {
        first = (remainder - before % stride + stride) % stride;
        count = length > first ? (length - first - 1) / stride + 1 : 0;
        int divisor = stride;
        for (int rest = dilation % stride; rest;) {
            int next = divisor % rest;
            divisor = rest, rest = next;
        }
        places = stride / divisor, step = dilation / divisor;
        for (place = 0; place < places && place < size_of_window; ++place)
            if ((remainder - place * (long long)dilation) % stride == 0) break;
        bool some = place < places && place < size_of_window;
        size = some ? (size_of_window - place - 1) / places + 1 : 0;
        begin = some ? (first + before - place * dilation) / stride : 0;  // which has no rest
    }
};

// The places in a window of w that a phase has, and the filters of a group, as `OverPlaces` counts them.
struct OverKernel {
    OverPlaces places;
    const Phase &down, &along;
    int size_x, kernel;  // of w; kernel: elements of one place
    __device__ OverKernel(const OverPlaces& places, const Phase& down, const Phase& along, int size_x, int kernel)
        : places(places), down(down), along(along), size_x(size_x), kernel(kernel) {}
    __device__ __forceinline__ Point point() const {
        int a = down.place + places.now.outer * down.places, b = along.place + places.now.middle * along.places;
        return {0, 0, unsigned(a * size_x + b) * kernel + places.now.inner};
    }
    __device__ __forceinline__ void advance() { places.advance(); }
    __device__ __forceinline__ void next() { places.next(); }
};

// Up to 4 numbers next to each other; whole: there are 4, and they begin where 16 bytes do.
__device__ __forceinline__ void write(REAL* to, const Four& values, int count, bool whole) {
    if (whole && count > 0) *reinterpret_cast<Four*>(to) = values;
#pragma unroll
    for (int j = 0; j < 4; ++j)
        if (!whole && j < count) to[j] = values.x[j];
}

// Windows by their numbers: one after another, or, where the greatest of CELL is taken (POOLED), a cell after another,
// pool_x windows of it beside each other; what is left over at the ends belongs to no cell.
template <bool POOLED> struct Order {
    static constexpr int EACH = POOLED ? CELL : 1;
    int pool_x, pool_y, rows, columns, count;

    __device__ Order(const Windows& g, int pool_x)
        : pool_x(pool_x), pool_y(EACH / pool_x), rows(g.rows / pool_y), columns(g.columns / pool_x),
          count(g.batch * rows * columns * EACH) {}
    __device__ Point window(const Windows& g, int number) const {
        Digits at = digits_of(number / EACH, rows, columns);
        int place = number % EACH;
        return at_window(g, {at.outer, at.middle * pool_y + place / pool_x, at.inner * pool_x + place % pool_x});
    }
};

// y from the sums of HEIGHT windows, from number `row` on, and 4 of the n filters of the block's group, from `column`
// on. With POOLED the greatest of each cell, and above 0 with relu; the bits of places tell which windows are as great
// (none, where relu lets nothing through). places may be null.
template <bool POOLED, int HEIGHT>
__device__ __forceinline__ void give(
    const SUM (&sums)[HEIGHT][4], int row, int windows, int column, int n, const REAL* bias, REAL* y,
    unsigned char* places, int relu, const Windows& g) {
    constexpr int EACH = POOLED ? CELL : 1;
    int count = n - column, filter = blockIdx.z * n + column;
    bool whole = n % 4 == 0 && begins_run<4>(y);
#pragma unroll
    for (int i = 0; i < HEIGHT; i += EACH) {
        if (row + i >= windows) break;
        Four most;
        FourBytes equal = {};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const REAL* shift = j < count ? bias : nullptr;
            if (!POOLED) {
                most.x[j] = shifted(sums[i][j], shift, filter + j);
                continue;
            }
            most.x[j] = relu ? REAL(0) : REAL(-INFINITE);
            REAL values[EACH];
#pragma unroll
            for (int f = 0; f < EACH; ++f) {
                values[f] = shifted(sums[i + f][j], shift, filter + j);
                if (values[f] > most.x[j] || values[f] != values[f]) most.x[j] = values[f];  // a NaN stays
            }
#pragma unroll
            for (int f = 0; f < EACH; ++f)
                if (values[f] == most.x[j] && (!relu || most.x[j] > 0)) equal.x[j] |= 1 << f;
        }
        unsigned to = unsigned((row + i) / EACH) * g.filters + filter;
        write(y + to, most, count, whole);
        if (!POOLED || !places) continue;
        bool packed = whole && reinterpret_cast<unsigned long long>(places) % 4 == 0;
        if (packed && count > 0) *reinterpret_cast<FourBytes*>(places + to) = equal;
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (!packed && j < count) places[to + j] = equal.x[j];
    }
}

template <int N, bool POOLED>
__device__ __forceinline__ void convolve(
    const REAL* x, const REAL* w, const REAL* bias, REAL* y, unsigned char* places, int relu, int pool_x,
    const Windows& g) {
    Order<POOLED> order(g, pool_x);
    int each = g.channels / g.groups, n = g.filters / g.groups, terms = g.size_y * g.size_x * each;
    int first = blockIdx.x * TILE_M, first_column = blockIdx.y * N;

    using Left = Panel<OverPlaces, TILE_M>;
    Left left(x + blockIdx.z * each, g.height, g.width, OverPlaces(g, Left::first_term(), TILE_K), each, terms, first,
              order.count, [&](int c) { return order.window(g, c); });
    RowPanel<N> right(w + blockIdx.z * n, g.filters, terms, first_column, n);
    SUM sums[Part<N>::HEIGHT][4] = {};
    multiply<N>(left, right, terms, sums);
    give<POOLED>(sums, first + Part<N>::row(), order.count, first_column + Part<N>::column(), n, bias, y, places, relu, g);
}

// The same for at most TERMS of them: a thread sums CELL windows and SHORT_N filters, without panels, whose gathering
// would take longer than the sums.
template <bool POOLED>
__device__ __forceinline__ void convolve_short(
    const REAL* x, const REAL* w, const REAL* bias, REAL* y, unsigned char* places, int relu, int pool_x,
    const Windows& g) {
    __shared__ __align__(16) REAL weights[TERMS][SHORT_N];
    Order<POOLED> order(g, pool_x);
    int each = g.channels / g.groups, n = g.filters / g.groups, first_column = blockIdx.y * SHORT_N;
    for (int t = threadIdx.x; t < g.size_y * g.size_x * each * SHORT_N; t += THREADS) {
        int column = first_column + t % SHORT_N;
        weights[t / SHORT_N][t % SHORT_N] = column < n ? w[t / SHORT_N * g.filters + blockIdx.z * n + column] : REAL(0);
    }
    __syncthreads();

    int row = int(blockIdx.x * THREADS + threadIdx.x) * CELL;
    Point windows[CELL];
#pragma unroll
    for (int f = 0; f < CELL; ++f)
        windows[f] = row + f < order.count ? order.window(g, row + f) : Point{NOWHERE, 0, 0};
    SUM sums[SHORT_N / 4][CELL][4] = {};
    for (int a = 0, term = 0; a < g.size_y; ++a)
        for (int b = 0; b < g.size_x; ++b)
            for (int c = 0; c < each; ++c, ++term) {
                Point place = at_place(g, {a, b, int(blockIdx.z) * each + c});
                REAL values[CELL];
#pragma unroll
                for (int f = 0; f < CELL; ++f)
                    values[f] = inside(g.height, g.width, windows[f], place) ? x[windows[f].at + place.at] : REAL(0);
#pragma unroll
                for (int q = 0; q < SHORT_N / 4; ++q) {
                    Four weight = *reinterpret_cast<const Four*>(&weights[term][q * 4]);
#pragma unroll
                    for (int f = 0; f < CELL; ++f)
#pragma unroll
                        for (int j = 0; j < 4; ++j) sums[q][f][j] += SUM(values[f]) * SUM(weight.x[j]);
                }
            }
#pragma unroll
    for (int q = 0; q < SHORT_N / 4; ++q)
        if (first_column + q * 4 < n)
            give<POOLED>(sums[q], row, order.count, first_column + q * 4, n, bias, y, places, relu, g);
}

// Elements of x that the same places in windows lie over are computed together.
template <int N>
__device__ __forceinline__ void convolve_back(
    const REAL* y, const REAL* w, const REAL* bias, REAL* x, const Windows& g) {
    int group = blockIdx.z % g.groups, phase = blockIdx.z / g.groups;
    Phase down(phase / g.stride_x, g.height, g.size_y, g.stride_y, g.dilation_y, g.before_y);
    Phase along(phase % g.stride_x, g.width, g.size_x, g.stride_x, g.dilation_x, g.before_x);
    // These elements are windows, next to each other, over y.
    Windows h = {g.batch, g.rows, g.columns, g.filters, down.count, along.count, g.channels, max(down.size, 1),
                 max(along.size, 1), 1, 1, -down.step, -along.step, -down.begin, -along.begin, g.groups};
    int each = g.filters / g.groups, m = h.batch * h.rows * h.columns, n = g.channels / g.groups;
    int first = blockIdx.x * TILE_M, first_column = blockIdx.y * N, terms = down.size * along.size * each;
    if (first >= m) return;

    using Left = Panel<OverPlaces, TILE_M>;
    using Right = Panel<OverKernel, N>;
    Left left(y + group * each, h.height, h.width, OverPlaces(h, Left::first_term(), TILE_K), each, terms, first, m,
              [&](int c) { return at_window(h, digits_of(c, h.rows, h.columns)); });
    Right right(w + group * each, 1, 1,
                OverKernel(OverPlaces(h, Right::first_term(), TILE_K), down, along, g.size_x, n * g.filters),
                g.filters % RUN ? 1 : each, terms, first_column, n,
                [&](int c) { return Point{0, 0, unsigned(c) * g.filters}; });
    SUM sums[Part<N>::HEIGHT][4] = {};
    multiply<N>(left, right, terms, sums);

    int row = first + Part<N>::row(), column = first_column + Part<N>::column(), channel = group * n + column;
    bool whole = n % 4 == 0 && begins_run<4>(x);
    int count = n - column;
    Digits at = digits_of(row, h.rows, h.columns);
#pragma unroll
    for (int i = 0; i < Part<N>::HEIGHT; ++i) {
        if (row + i >= m) break;
        unsigned line = unsigned(at.outer) * g.height + down.first + at.middle * g.stride_y;
        Four values;
#pragma unroll
        for (int j = 0; j < 4; ++j) values.x[j] = shifted(sums[i][j], j < count ? bias : nullptr, channel + j);
        write(x + ((line * g.width + along.first + at.inner * g.stride_x) * g.channels + channel), values, count, whole);
        at.add({0, 0, 1}, h.rows, h.columns);
    }
}

}  // namespace

// Grid (⌈batch · rows · columns / TILE_M⌉, ⌈filters / groups / N⌉, groups), block THREADS. N is TILE_N, or half of it
// for few filters; for short sums it is SHORT_N, and CELL · THREADS stands for TILE_M.
extern "C" __global__ void __launch_bounds__(THREADS) convolution(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    WINDOWS) {
    convolve<TILE_N, false>(x, w, bias, y, nullptr, 0, 1, THESE_WINDOWS);
}

extern "C" __global__ void __launch_bounds__(THREADS) convolution_few(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    WINDOWS) {
    convolve<TILE_N / 2, false>(x, w, bias, y, nullptr, 0, 1, THESE_WINDOWS);
}

extern "C" __global__ void __launch_bounds__(THREADS) convolution_short(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    WINDOWS) {
    convolve_short<false>(x, w, bias, y, nullptr, 0, 1, THESE_WINDOWS);
}

// The same, and the greatest of each cell of CELL windows alone, which are counted in place of all.
extern "C" __global__ void __launch_bounds__(THREADS) convolution_max_pool(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    unsigned char* __restrict__ places, int relu, int pool_x, WINDOWS) {
    convolve<TILE_N, true>(x, w, bias, y, places, relu, pool_x, THESE_WINDOWS);
}

extern "C" __global__ void __launch_bounds__(THREADS) convolution_max_pool_few(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    unsigned char* __restrict__ places, int relu, int pool_x, WINDOWS) {
    convolve<TILE_N / 2, true>(x, w, bias, y, places, relu, pool_x, THESE_WINDOWS);
}

extern "C" __global__ void __launch_bounds__(THREADS) convolution_max_pool_short(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    unsigned char* __restrict__ places, int relu, int pool_x, WINDOWS) {
    convolve_short<true>(x, w, bias, y, places, relu, pool_x, THESE_WINDOWS);
}

// Grid (⌈batch · ⌈height / stride_y⌉ · ⌈width / stride_x⌉ / TILE_M⌉, ⌈channels / groups / N⌉,
// groups · stride_y · stride_x), block THREADS. N is as for the convolution.
extern "C" __global__ void __launch_bounds__(THREADS) transposed_convolution(
    const REAL* __restrict__ y, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ x,
    WINDOWS) {
    convolve_back<TILE_N>(y, w, bias, x, THESE_WINDOWS);
}

extern "C" __global__ void __launch_bounds__(THREADS) transposed_convolution_few(
    const REAL* __restrict__ y, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ x,
    WINDOWS) {
    convolve_back<TILE_N / 2>(y, w, bias, x, THESE_WINDOWS);
}
