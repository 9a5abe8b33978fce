// Convolution of channels each by itself (channels = groups = filters), and its two adjoints; see convolution.cu and
// correlation.cu.
#include "arrival.cuh"
#include "windows.cuh"

#define SUM_COLUMNS 32  // channels of a block of `kernel_correlation_apart`: threadIdx.x
#define SUM_ROWS 8      // the same: threadIdx.y

// For channels each by itself: a thread for each element of y; grid ⌈elements / THREADS⌉, block THREADS.
extern "C" __global__ void __launch_bounds__(THREADS) convolution_apart(
    const REAL* __restrict__ x, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ y,
    WINDOWS) {
    Windows g = THESE_WINDOWS;
    unsigned at = index_of_thread();
    if (at >= unsigned(g.batch * g.rows * g.columns * g.channels)) return;
    int c = at % g.channels;
    Point window = at_window(g, digits_of(at / g.channels, g.rows, g.columns));
    SUM sum = 0;
    for (int a = 0; a < g.size_y; ++a)
        for (int b = 0; b < g.size_x; ++b) {
            Point place = at_place(g, {a, b, c});
            if (inside(g.height, g.width, window, place))
                sum += SUM(x[window.at + place.at]) * SUM(w[(a * g.size_x + b) * g.channels + c]);
        }
    y[at] = shifted(sum, bias, c);
}

// The same for each element of x.
extern "C" __global__ void __launch_bounds__(THREADS) transposed_convolution_apart(
    const REAL* __restrict__ y, const REAL* __restrict__ w, const REAL* __restrict__ bias, REAL* __restrict__ x,
    WINDOWS) {
    Windows g = THESE_WINDOWS;
    unsigned index = index_of_thread();
    if (index >= unsigned(g.batch * g.height * g.width * g.channels)) return;
    int c = index % g.channels;
    Digits at = digits_of(index / g.channels, g.height, g.width);
    SUM sum = 0;
    for (int a = 0; a < g.size_y; ++a) {
        int i = at.middle + g.before_y - a * g.dilation_y;
        if (i < 0 || i % g.stride_y || (i /= g.stride_y) >= g.rows) continue;
        for (int b = 0; b < g.size_x; ++b) {
            int j = at.inner + g.before_x - b * g.dilation_x;
            if (j < 0 || j % g.stride_x || (j /= g.stride_x) >= g.columns) continue;
            sum += SUM(y[((at.outer * g.rows + i) * g.columns + j) * g.channels + c]) *
                   SUM(w[(a * g.size_x + b) * g.channels + c]);
        }
    }
    x[index] = shifted(sum, bias, c);
}

// The same for each element of w, summed by SUM_ROWS threads; grid (⌈channels / SUM_COLUMNS⌉, size_y · size_x, split),
// block (SUM_COLUMNS, SUM_ROWS). split, partial and arrived are as for `kernel_correlation`, with a 0 for each of the
// grid's x and y.
extern "C" __global__ void __launch_bounds__(SUM_COLUMNS * SUM_ROWS) kernel_correlation_apart(
    const REAL* __restrict__ x, const REAL* __restrict__ y, REAL* __restrict__ w, SUM* partial, unsigned* arrived,
    int split, WINDOWS) {
    __shared__ SUM sums[SUM_ROWS][SUM_COLUMNS];
    __shared__ bool last;
    Windows g = THESE_WINDOWS;
    int c = blockIdx.x * SUM_COLUMNS + threadIdx.x, windows = g.batch * g.rows * g.columns;
    int per_part = (windows - 1) / split + 1;
    int begin = min(windows, int(blockIdx.z) * per_part), end = min(windows, begin + per_part);
    SUM sum = 0;
    if (c < g.channels) {
        Point place = at_place(g, {int(blockIdx.y) / g.size_x, int(blockIdx.y) % g.size_x, c});
        OverWindows over(g, begin + threadIdx.y, SUM_ROWS);
        for (int k = begin + threadIdx.y; k < end; k += SUM_ROWS) {
            Point at = over.point();
            if (inside(g.height, g.width, at, place)) sum += SUM(x[at.at + place.at]) * SUM(y[k * g.channels + c]);
            over.advance();
        }
    }
    auto together = [&] {  // into the sum of the first of SUM_ROWS threads
        sums[threadIdx.y][threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.y == 0)
            for (int i = 1; i < SUM_ROWS; ++i) sum += sums[i][threadIdx.x];
    };
    together();
    unsigned to = blockIdx.y * g.channels + c;
    if (split > 1) {
        long long size = (long long)gridDim.y * g.channels;
        if (threadIdx.y == 0 && c < g.channels) partial[blockIdx.z * size + to] = sum;
        if (!last_to_arrive(&arrived[blockIdx.y * gridDim.x + blockIdx.x], split, last)) return;
        sum = 0;
        if (c < g.channels)
#pragma unroll 8  // as many are on their way at a time
            for (int z = threadIdx.y; z < split; z += SUM_ROWS) sum += partial[z * size + to];
        together();
    }
    if (threadIdx.y == 0 && c < g.channels) w[to] = REAL(sum);
}
