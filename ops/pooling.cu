// Pooling over the two axes of maps, and its adjoints; on one axis, maps have a height of 1.
//
//   max_pool:        y[n, i, c] = max over a of x[n, i · stride + a - before, c]
//   max_unpool:      v[n, r, c] = Σ over windows i over r of g[n, i, c] / (how often y[n, i, c] is in the window),
//                    where x[n, r, c] = y[n, i, c]
//   average_pool:    y[n, i, c] = mean over a of x[n, i · stride + a - before, c]
//   average_unpool:  x[n, r, c] = Σ over windows i over r of g[n, i, c] / (how many elements the window has)
//
// x and v are batch × height × width × channels, y and g batch × rows × columns × channels, all row by row. Around x is
// a border of -∞ for the greatest, and of nothing for the mean. A thread computes an element: grid ⌈elements /
// THREADS⌉, block THREADS. Elements are added in the order of their places in the window; compiled without contraction,
// the kernels give what the array code gives, to the last bit. Arrays, x with its border too, have fewer than 2³⁰
// elements.
#ifndef REAL
#define REAL float
#endif

#define THREADS 128  // of a block
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

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS) max_pool(
    const REAL* __restrict__ x, REAL* __restrict__ y, WINDOWS) {
    Windows g = THESE_WINDOWS;
    Element e(g, g.rows, g.columns);
    if (e.sample < 0) return;
    Inside down(e.y, g.stride_y, g.size_y, g.before_y, g.height), along(e.x, g.stride_x, g.size_x, g.before_x, g.width);
    REAL greatest = REAL(-INFINITE);
    for (int i = down.begin; i < down.end; ++i)
        for (int j = along.begin; j < along.end; ++j) {
            REAL value = x[((e.sample * g.height + i) * g.width + j) * g.channels + e.c];
            greatest = value > greatest || value != value ? value : greatest;  // a NaN stays
        }
    y[e.at] = greatest;
}

extern "C" __global__ void __launch_bounds__(THREADS) max_unpool(
    const REAL* __restrict__ gy, const REAL* __restrict__ x, const REAL* __restrict__ y, REAL* __restrict__ v,
    WINDOWS) {
    Windows g = THESE_WINDOWS;
    Element e(g, g.height, g.width);
    if (e.sample < 0) return;
    REAL value = x[e.at];
    v[e.at] = sum_over_windows(g, e, [&](int window_y, int window_x, int at) {
        if (y[at] != value) return REAL(0);
        Inside down(window_y, g.stride_y, g.size_y, g.before_y, g.height);
        Inside along(window_x, g.stride_x, g.size_x, g.before_x, g.width);
        int equal = value == REAL(-INFINITE) ? g.size_y * g.size_x - down.count() * along.count() : 0;  // of the border
        for (int i = down.begin; i < down.end; ++i)
            for (int j = along.begin; j < along.end; ++j)
                equal += x[((e.sample * g.height + i) * g.width + j) * g.channels + e.c] == value;
        return gy[at] / REAL(equal);
    });
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
