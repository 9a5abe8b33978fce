// Pooling over the two axes of maps, and its adjoints; on one axis, maps have a height of 1.
//
//   max_pool:        y[n, i, c] = max over a of x[n, i · stride + a - before, c]
//   max_unpool:      v[n, r, c] = Σ over windows i over r of g[n, i, c] / (how often y[n, i, c] is in the window),
//                    where x[n, r, c] = y[n, i, c]; or by the places that max_pool kept: bit a of a window's byte is
//                    set where x[n, i · stride + a, c] = y[n, i, c]
//   average_pool:    y[n, i, c] = mean over a of x[n, i · stride + a - before, c]
//   average_unpool:  x[n, r, c] = Σ over windows i over r of g[n, i, c] / (how many elements the window has)
//
// x and v are batch × height × width × channels, y and g batch × rows × columns × channels, all row by row. Around x is
// a border of -∞ for the greatest, and of nothing for the mean. A thread computes an element: grid ⌈elements /
// THREADS⌉, block THREADS; for the greatest it may be of any size. Elements are added in the order of their places in the window; compiled without contraction,
// the kernels give what the array code gives, to the last bit. Arrays, x with its border too, have fewer than 2³⁰
// elements.
#ifndef REAL
#define REAL float
#endif

#define THREADS 128  // of a block
#define RUN (16 / int(sizeof(REAL)))  // channels of a thread that moves 16 bytes at a time
#define INFINITE (1.0 / 0.0)

#define WINDOWS                                                                                                   \
    int batch, int height, int width, int channels, int rows, int columns, int size_y, int size_x, int stride_y,  \
        int stride_x, int before_y, int before_x
#define THESE_WINDOWS                                                                                             \
    {batch, height, width, channels, rows, columns, size_y, size_x, stride_y, stride_x, before_y, before_x}

namespace {

struct Windows {
    int batch, height, width, channels, rows, columns, size_y, size_x, stride_y, stride_x, before_y, before_x;
};

// Which element of a map of `height` and `width` the thread computes; sample < 0 where none.
struct Element {
    int sample, y, x, c;
    unsigned at;

    __device__ Element(const Windows& g, int height, int width) : at(blockIdx.x * blockDim.x + threadIdx.x) {
        unsigned rest = at / g.channels;
        c = at % g.channels, x = rest % width, y = rest / width % height, sample = rest / width / height;
        if (sample >= g.batch) sample = -1;
    }
};

// The part of a window along one axis that is inside.
struct Inside {
    int begin, end;
    __device__ Inside(int window, int stride, int size, int before, int length) {
        int first = window * stride - before;
        begin = max(first, 0), end = min(first + size, length);
    }
    __device__ int count() const { return max(end - begin, 0); }
};

__device__ __forceinline__ REAL inverse_count(const Inside& down, const Inside& along) {
    return REAL(1) / REAL(down.count() * along.count());
}

// Σ of term(i, j, at) over the windows over an element, by the element's place in them.
template <class Term> __device__ __forceinline__ REAL sum_over_windows(const Windows& g, const Element& e, Term term) {
    REAL sum = 0;
    for (int a = 0; a < g.size_y; ++a) {
        int i = e.y + g.before_y - a;
        if (i < 0 || i % g.stride_y || (i /= g.stride_y) >= g.rows) continue;
        for (int b = 0; b < g.size_x; ++b) {
            int j = e.x + g.before_x - b;
            if (j < 0 || j % g.stride_x || (j /= g.stride_x) >= g.columns) continue;
            sum += term(i, j, ((e.sample * g.rows + i) * g.columns + j) * g.channels + e.c);
        }
    }
    return sum;
}

template <int N> struct alignas(N * sizeof(REAL)) Run {
    REAL x[N];
};

__device__ __forceinline__ bool begins_run(const REAL* x) {
    return reinterpret_cast<unsigned long long>(x) % alignof(Run<RUN>) == 0;
}

template <int N> struct alignas(N) Bytes {
    unsigned char x[N];
};

template <int N> __device__ __forceinline__ Run<N> read(const REAL* x, unsigned at) {
    return *reinterpret_cast<const Run<N>*>(x + at);
}

template <int N> __device__ __forceinline__ void write(REAL* x, unsigned at, const Run<N>& values) {
    *reinterpret_cast<Run<N>*>(x + at) = values;
}

// Of N channels the greatest of each window, and where it is.
template <int N>
__device__ __forceinline__ void greatest(
    const REAL* x, REAL* y, unsigned char* places, int relu, const Windows& g) {
    unsigned runs = g.channels / N, count = g.batch * g.rows * g.columns * runs, step = gridDim.x * blockDim.x;
    for (unsigned n = blockIdx.x * blockDim.x + threadIdx.x; n < count; n += step) {
        unsigned c = n % runs * N, rest = n / runs, sample = rest / g.columns / g.rows;
        Inside down(rest / g.columns % g.rows, g.stride_y, g.size_y, g.before_y, g.height);
        Inside along(rest % g.columns, g.stride_x, g.size_x, g.before_x, g.width);
        Run<N> most;
#pragma unroll
        for (int f = 0; f < N; ++f) most.x[f] = relu ? REAL(0) : REAL(-INFINITE);
        Bytes<N> equal = {};
        unsigned bit = 1;
        for (int i = down.begin; i < down.end; ++i)
            for (int j = along.begin; j < along.end; ++j, bit <<= 1) {
                Run<N> values = read<N>(x, ((sample * g.height + i) * g.width + j) * g.channels + c);
#pragma unroll
                for (int f = 0; f < N; ++f) {
                    if (values.x[f] > most.x[f] || values.x[f] != values.x[f])  // a NaN stays
                        most.x[f] = values.x[f], equal.x[f] = 0;
                    equal.x[f] |= values.x[f] == most.x[f] ? bit : 0;
                }
            }
        write<N>(y, n * N, most);
        if (places) {
#pragma unroll
            for (int f = 0; f < N; ++f)
                if (relu && !(most.x[f] > 0)) equal.x[f] = 0;
            *reinterpret_cast<Bytes<N>*>(places + n * N) = equal;
        }
    }
}

// Of N channels what each element gets from the only window over it, or 0: cells begin where windows do, and reach to
// the next.
template <int N>
__device__ __forceinline__ void hand_out(
    const REAL* gy, const REAL* x, const REAL* y, const unsigned char* places, REAL* v, int relu, const Windows& g) {
    int down_cells = (g.height - 1 + g.before_y) / g.stride_y + 1;
    int along_cells = (g.width - 1 + g.before_x) / g.stride_x + 1;
    unsigned runs = g.channels / N, count = g.batch * down_cells * along_cells * runs, step = gridDim.x * blockDim.x;
    for (unsigned n = blockIdx.x * blockDim.x + threadIdx.x; n < count; n += step) {
        unsigned c = n % runs * N, rest = n / runs, sample = rest / along_cells / down_cells;
        int window_y = rest / along_cells % down_cells, window_x = rest % along_cells;
        bool some = window_y < g.rows && window_x < g.columns;
        Inside down(window_y, g.stride_y, some ? g.size_y : 0, g.before_y, g.height);
        Inside along(window_x, g.stride_x, some ? g.size_x : 0, g.before_x, g.width);
        Inside cell_down(window_y, g.stride_y, g.stride_y, g.before_y, g.height);
        Inside cell_along(window_x, g.stride_x, g.stride_x, g.before_x, g.width);
        unsigned first = sample * g.height * g.width * g.channels + c, equal[N] = {}, bit = 1;
        Run<N> share = {};
        if (some) {
            unsigned at = ((sample * g.rows + window_y) * g.columns + window_x) * g.channels + c;
            Run<N> top = {}, given = read<N>(gy, at);
            Bytes<N> kept = places ? *reinterpret_cast<const Bytes<N>*>(places + at) : Bytes<N>{};
#pragma unroll
            for (int f = 0; f < N; ++f) equal[f] = kept.x[f];
            if (!places) top = read<N>(y, at);
            for (int i = down.begin; i < (places ? 0 : down.end); ++i)
                for (int j = along.begin; j < along.end; ++j, bit <<= 1) {
                    Run<N> values = read<N>(x, first + (i * g.width + j) * g.channels);
#pragma unroll
                    for (int f = 0; f < N; ++f) equal[f] |= values.x[f] == top.x[f] ? bit : 0;
                }
            int outside = g.size_y * g.size_x - down.count() * along.count();
#pragma unroll
            for (int f = 0; f < N; ++f) {
                int many = __popc(equal[f]) + (top.x[f] == REAL(-INFINITE) ? outside : 0);
                share.x[f] = relu && !(top.x[f] > 0) ? REAL(0) : given.x[f] / REAL(many);
            }
        }
        bit = 1;
        for (int i = cell_down.begin; i < cell_down.end; ++i)
            for (int j = cell_along.begin; j < cell_along.end; ++j) {
                bool within = i < down.end && j < along.end;
                Run<N> values;
#pragma unroll
                for (int f = 0; f < N; ++f) values.x[f] = within && (equal[f] & bit) ? share.x[f] : REAL(0);
                bit <<= within;
                write<N>(v, first + (i * g.width + j) * g.channels, values);
            }
    }
}

}  // namespace

// With relu, 0 where that is greater. Where channels are a multiple of RUN, a thread computes as many at once. places
// takes where in a window of at most 8 elements without a border the greatest are, with relu those above 0; it may be null.
extern "C" __global__ void __launch_bounds__(THREADS, 8) max_pool(
    const REAL* __restrict__ x, REAL* __restrict__ y, unsigned char* __restrict__ places, int relu, WINDOWS) {
    Windows g = THESE_WINDOWS;
    if (g.channels % RUN == 0 && begins_run(x) && begins_run(y) && reinterpret_cast<unsigned long long>(places) % RUN == 0)
        greatest<RUN>(x, y, places, relu, g);
    else
        greatest<1>(x, y, places, relu, g);
}

// With relu, windows whose y is not above 0 hand out nothing.
extern "C" __global__ void __launch_bounds__(THREADS) max_unpool(
    const REAL* __restrict__ gy, const REAL* __restrict__ x, const REAL* __restrict__ y, REAL* __restrict__ v, int relu,
    WINDOWS) {
    Windows g = THESE_WINDOWS;
    Element e(g, g.height, g.width);
    if (e.sample < 0) return;
    REAL value = x[e.at];
    v[e.at] = sum_over_windows(g, e, [&](int window_y, int window_x, int at) {
        if (y[at] != value || (relu && !(y[at] > 0))) return REAL(0);
        Inside down(window_y, g.stride_y, g.size_y, g.before_y, g.height);
        Inside along(window_x, g.stride_x, g.size_x, g.before_x, g.width);
        int equal = value == REAL(-INFINITE) ? g.size_y * g.size_x - down.count() * along.count() : 0;  // of the border
        for (int i = down.begin; i < down.end; ++i)
            for (int j = along.begin; j < along.end; ++j)
                equal += x[((e.sample * g.height + i) * g.width + j) * g.channels + e.c] == value;
        return gy[at] / REAL(equal);
    });
}

// The same for windows of at most 32 elements that do not overlap: each thread reads and writes what belongs to a
// window of a channel, or of RUN channels, and what follows it up to the next. With places, as `max_pool` kept them,
// x and y may be null, and relu is 0.
extern "C" __global__ void __launch_bounds__(THREADS, 8) max_unpool_apart(
    const REAL* __restrict__ gy, const REAL* __restrict__ x, const REAL* __restrict__ y,
    const unsigned char* __restrict__ places, REAL* __restrict__ v, int relu, WINDOWS) {
    Windows g = THESE_WINDOWS;
    bool runs = begins_run(gy) && begins_run(x) && begins_run(y) && begins_run(v);
    if (g.channels % RUN == 0 && runs && reinterpret_cast<unsigned long long>(places) % RUN == 0)
        hand_out<RUN>(gy, x, y, places, v, relu, g);
    else
        hand_out<1>(gy, x, y, places, v, relu, g);
}

extern "C" __global__ void __launch_bounds__(THREADS) average_pool(
    const REAL* __restrict__ x, REAL* __restrict__ y, WINDOWS) {
    Windows g = THESE_WINDOWS;
    Element e(g, g.rows, g.columns);
    if (e.sample < 0) return;
    Inside down(e.y, g.stride_y, g.size_y, g.before_y, g.height), along(e.x, g.stride_x, g.size_x, g.before_x, g.width);
    REAL sum = 0;
    for (int i = down.begin; i < down.end; ++i)
        for (int j = along.begin; j < along.end; ++j)
            sum += x[((e.sample * g.height + i) * g.width + j) * g.channels + e.c];
    y[e.at] = sum * inverse_count(down, along);
}

extern "C" __global__ void __launch_bounds__(THREADS) average_unpool(
    const REAL* __restrict__ gy, REAL* __restrict__ x, WINDOWS) {
    Windows g = THESE_WINDOWS;
    Element e(g, g.height, g.width);
    if (e.sample < 0) return;
    x[e.at] = sum_over_windows(g, e, [&](int window_y, int window_x, int at) {
        Inside down(window_y, g.stride_y, g.size_y, g.before_y, g.height);
        Inside along(window_x, g.stride_x, g.size_x, g.before_x, g.width);
        return gy[at] * inverse_count(down, along);
    });
}
