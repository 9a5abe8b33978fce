// Windows that slide over the two axes of maps, which convolution.cu, correlation.cu and depthwise.cu sum over; on one axis,
// maps have a height of 1.
//
// x is batch × height × width × channels, w size_y × size_x × channels / groups × filters, y batch × rows × columns ×
// filters, all row by row; filter k sees the channels of its group. Where x has no element counts 0. Every sum is taken
// in a fixed order, so that results repeat to the last bit. A bias may be null. Arrays, x with its border too, have fewer
// than 2³⁰ elements, and more than none.
#ifndef REAL
#define REAL float
#endif
#ifndef SUM
#define SUM REAL
#endif

#define THREADS 128  // of a block, where the kernel does not say another number
#define RUN (16 / int(sizeof(REAL)))  // elements that a thread moves at a time
#define NOWHERE (-(1 << 30))  // a row or column outside of every map, also after another one is added

#define WINDOWS                                                                                                   \
    int batch, int height, int width, int channels, int rows, int columns, int filters, int size_y, int size_x,   \
        int stride_y, int stride_x, int dilation_y, int dilation_x, int before_y, int before_x, int groups
#define THESE_WINDOWS                                                                                             \
    {                                                                                                             \
        batch, height, width, channels, rows, columns, filters, size_y, size_x, stride_y, stride_x, dilation_y,   \
            dilation_x, before_y, before_x, groups                                                                \
    }

struct Windows {
    int batch, height, width, channels, rows, columns, filters, size_y, size_x, stride_y, stride_x, dilation_y,
        dilation_x, before_y, before_x, groups;
};

struct alignas(16) Four {
    REAL x[4];
};

template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Run {
    T x[N];
};

template <int N> __device__ bool begins_run(const REAL* x) {
    return reinterpret_cast<unsigned long long>(x) % alignof(Run<REAL, N>) == 0;
}

// A whole number by its digits, of which the last counts up to `inners`, the one before up to `middles`.
struct Digits {
    int outer, middle, inner;

    __device__ __forceinline__ void add(const Digits& by, int middles, int inners) {
        inner += by.inner;
        int over = inner >= inners;
        inner -= over ? inners : 0;
        middle += by.middle + over;
        over = middle >= middles;
        middle -= over ? middles : 0;
        outer += by.outer + over;
    }
};

__device__ __forceinline__ Digits digits_of(int number, int middles, int inners) {
    return {number / inners / middles, number / inners % middles, number % inners};
}

// An element of a map as a sum of two points: where the window begins, and the place in the window.
struct Point {
    int y, x;
    unsigned at;  // elements from the first of the map; below it counts as from behind, which the sum makes good
};

__device__ __forceinline__ Point at_window(const Windows& g, const Digits& window) {
    int y = window.middle * g.stride_y, x = window.inner * g.stride_x;
    unsigned row = unsigned(window.outer) * g.height + y;
    return {y, x, (row * g.width + x) * g.channels};
}

__device__ __forceinline__ Point at_place(const Windows& g, const Digits& place) {
    int y = int(unsigned(place.outer) * g.dilation_y - g.before_y), x = place.middle * g.dilation_x - g.before_x;
    return {y, x, (unsigned(y) * g.width + x) * g.channels + place.inner};
}

__device__ __forceinline__ bool inside(int height, int width, const Point& a, const Point& b) {
    return unsigned(a.y + b.y) < unsigned(height) && unsigned(a.x + b.x) < unsigned(width);
}

// What moves along the terms of a sum: windows (outer: the sample), places in a window (inner: the channel), or the
// rows of a matrix.
struct OverWindows {
    const Windows& g;
    Digits now, step;
    __device__ OverWindows(const Windows& g, int first, int by)
        : g(g), now(digits_of(first, g.rows, g.columns)), step(digits_of(by, g.rows, g.columns)) {}
    __device__ __forceinline__ Point point() const { return at_window(g, now); }
    __device__ __forceinline__ void advance() { now.add(step, g.rows, g.columns); }
};

struct OverPlaces {
    const Windows& g;
    int channels;
    Digits now, step;
    __device__ OverPlaces(const Windows& g, int first, int by)
        : g(g), channels(g.channels / g.groups), now(digits_of(first, g.size_x, channels)),
          step(digits_of(by, g.size_x, channels)) {}
    __device__ __forceinline__ Point point() const { return at_place(g, now); }
    __device__ __forceinline__ void advance() { now.add(step, g.size_x, channels); }
    __device__ __forceinline__ void next() { now.add({0, 0, 1}, g.size_x, channels); }
};

// A sum with its bias, where there is one.
__device__ __forceinline__ REAL shifted(SUM sum, const REAL* bias, int channel) {
    return REAL(bias ? sum + SUM(bias[channel]) : sum);
}

__device__ __forceinline__ unsigned index_of_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
