// The adjoint of a convolution in its kernel, over the two axes of maps:
//
//   kernel_correlation:  w[a, c, k] = Σ_{n, i} x[n, i · stride + a · dilation - before, c] y[n, i, k]
//
// Many windows are summed into few numbers: a product of matrices, whose elements are gathered from the maps while it
// runs.
#include "arrival.cuh"
#include "windows.cuh"

#ifndef MANY
#define MANY 384  // threads of a block
#endif
#ifndef MANY_FEW
#define MANY_FEW 512  // the same for few numbers
#endif

namespace {

struct alignas(16) FourSums {
    SUM x[4];
};

// kernel_correlation for tiles of M × N: a block takes a run of windows, by panels of as many as its threads load with
// one run of places and one of filters each. The threads fall into groups, each of which takes its share of a panel's
// windows and all numbers of the tile, HEIGHT · 4 a thread; at the end the groups' sums are added, half to half.
template <int T, int M, int N, int HEIGHT, bool ALONG> struct Correlation {
    static constexpr int PANEL = RUN * T / M, QUADS = M * N / 4,
                         GROUP = QUADS / HEIGHT, GROUPS = T / GROUP, LANES = T > QUADS ? T / QUADS : 1,
                         LEFT_ROW = M + 4, RIGHT_ROW = N + 4, PANELS = 2 * PANEL * (LEFT_ROW + RIGHT_ROW),
                         SUMS = M * N * GROUPS / 2,
                         ROOM = PANELS * sizeof(REAL) > SUMS * sizeof(SUM) ? PANELS : SUMS * sizeof(SUM) / sizeof(REAL);

    static_assert(GROUPS > 1 && (GROUPS & (GROUPS - 1)) == 0 && PANEL % GROUPS == 0 && PANEL * N <= T * RUN);

    static __device__ __forceinline__ void run(
        const REAL* x, const REAL* y, REAL* w, REAL* sums_of_y, SUM* partial, unsigned* arrived, int split,
        const Windows& g) {
        __shared__ __align__(16) REAL room[ROOM];
        __shared__ bool last;
        int t = threadIdx.x, group = blockIdx.z % g.groups, part = blockIdx.z / g.groups;
        int each = g.channels / g.groups, m = g.size_y * g.size_x * each, n = g.filters / g.groups;
        int first = blockIdx.x * M, first_column = blockIdx.y * N, windows = g.batch * g.rows * g.columns;
        int per_part = ((windows - 1) / PANEL / split + 1) * PANEL;
        int begin = min(windows, part * per_part), end = min(windows, begin + per_part);
        x += group * each, y += group * n + first_column;

        // What this thread brings: a run of rows, one of them of ones for the sums of y, and a run of columns.
        int term = ALONG ? t % PANEL : t / (M / RUN), row = (ALONG ? t / PANEL : t % (M / RUN)) * RUN;
        int term_of_y = t / (N / RUN), column = t % (N / RUN) * RUN, ones = sums_of_y ? m - first - row : -1;
        bool runs = each % RUN == 0 && begins_run<RUN>(x), runs_of_y = g.filters % RUN == 0 && begins_run<RUN>(y);
        Point places[RUN];
#pragma unroll
        for (int f = 0; f < RUN; ++f) {
            int c = first + row + f;
            places[f] = c < m ? at_place(g, digits_of(c, g.size_x, each)) : Point{NOWHERE, 0, 0};
        }
        OverWindows over(g, begin + term, PANEL);
        Run<REAL, RUN> left, right;
        unsigned at_y = unsigned(begin + term_of_y) * g.filters + column, end_of_y = unsigned(windows) * g.filters;
        int of_y = t < PANEL * N / RUN ? n - first_column - column : 0;
        auto load = [&] {
            Point window = over.point();
            bool there = over.now.outer < g.batch;  // parts are whole panels, but for the last
            if (!there) window.y = NOWHERE;
            if (runs) {
                left = Run<REAL, RUN>{};
                if (inside(g.height, g.width, places[0], window))
                    left = *reinterpret_cast<const Run<REAL, RUN>*>(x + (places[0].at + window.at));
            } else {
#pragma unroll
                for (int f = 0; f < RUN; ++f)
                    left.x[f] = inside(g.height, g.width, places[f], window) ? x[places[f].at + window.at] : REAL(0);
            }
            if (unsigned(ones) < unsigned(RUN))
#pragma unroll
                for (int f = 0; f < RUN; ++f)
                    if (f == ones) left.x[f] = REAL(there);
            over.advance();
            right = Run<REAL, RUN>{};
            int count = at_y < end_of_y ? of_y : 0;
            if (runs_of_y) {
                if (count > 0) right = *reinterpret_cast<const Run<REAL, RUN>*>(y + at_y);
            } else {
#pragma unroll
                for (int f = 0; f < RUN; ++f)
                    if (f < count) right.x[f] = y[at_y + f];
            }
            at_y += PANEL * g.filters;
        };

        int of = t / GROUP, down = t % GROUP / (N / 4) * HEIGHT, along = t % (N / 4) * 4;
        SUM sums[HEIGHT][4] = {};
        if (begin < end) load();
        // Panels take turns in two buffers, so that one barrier does: whoever is past it has left the other buffer.
        for (int at = begin, turn = 0; at < end; at += PANEL, turn ^= 1) {
            REAL* lefts = room + turn * PANEL * LEFT_ROW;
            REAL* rights = room + (2 * LEFT_ROW + turn * RIGHT_ROW) * PANEL;
            *reinterpret_cast<Run<REAL, RUN>*>(lefts + term * LEFT_ROW + row) = left;
            if (t < PANEL * N / RUN) *reinterpret_cast<Run<REAL, RUN>*>(rights + term_of_y * RIGHT_ROW + column) = right;
            __syncthreads();
            if (end - at > PANEL) load();
#pragma unroll
            for (int step = 0; step < PANEL / GROUPS; ++step) {  // past the end are zeros
                int k = of + step * GROUPS;
                Four b = *reinterpret_cast<const Four*>(rights + k * RIGHT_ROW + along);
#pragma unroll
                for (int i = 0; i < HEIGHT; i += 4) {
                    Four a = *reinterpret_cast<const Four*>(lefts + k * LEFT_ROW + down + i);
#pragma unroll
                    for (int f = 0; f < 4; ++f)
#pragma unroll
                        for (int j = 0; j < 4; ++j) sums[i + f][j] += SUM(a.x[f]) * SUM(b.x[j]);
                }
            }
        }

        FourSums* tiles = reinterpret_cast<FourSums*>(room);
#pragma unroll
        for (int half = GROUPS / 2; half; half /= 2) {
            __syncthreads();  // all are done with what lies there
            FourSums* tile = tiles + of % half * QUADS + (down * N + along) / 4;
#pragma unroll
            for (int i = 0; i < HEIGHT; ++i)
                if (of / half == 1) tile[i * N / 4] = FourSums{{sums[i][0], sums[i][1], sums[i][2], sums[i][3]}};
            __syncthreads();
#pragma unroll
            for (int i = 0; i < HEIGHT; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j)
                    if (of < half) sums[i][j] += tile[i * N / 4].x[j];
        }
#pragma unroll
        for (int i = 0; i < HEIGHT; ++i)
            if (of == 0) {
                FourSums* tile = tiles + (down * N + along) / 4;
                tile[i * N / 4] = FourSums{{sums[i][0], sums[i][1], sums[i][2], sums[i][3]}};
            }
        __syncthreads();

        int lane = t / QUADS;
        if (split > 1) {
            unsigned of_grid = (group * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
            FourSums* parts = reinterpret_cast<FourSums*>(partial) + (long long)of_grid * split * QUADS;
            for (int q = t % QUADS; q < QUADS && lane == 0; q += T) parts[part * QUADS + q] = tiles[q];
            if (!last_to_arrive(&arrived[of_grid], split, last)) return;
            for (int q = t % QUADS; q < QUADS; q += T) {
                FourSums sum = {};
#pragma unroll 8  // as many are on their way at a time
                for (int z = lane; z < split; z += LANES) {
                    FourSums more = parts[z * QUADS + q];
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum.x[j] += more.x[j];
                }
                tiles[lane * QUADS + q] = sum;
            }
            __syncthreads();
        }
        for (int q = t % QUADS; q < QUADS && lane == 0; q += T) {
            FourSums sum = tiles[q];
            for (int z = 1; z < (split > 1 ? LANES : 1); ++z)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum.x[j] += tiles[z * QUADS + q].x[j];
            int i = first + q / (N / 4), k = q % (N / 4) * 4;
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (first_column + k + j < n) {
                    int filter = group * n + first_column + k + j;
                    if (i < m) w[unsigned(i) * g.filters + filter] = REAL(sum.x[j]);
                    if (i == m && sums_of_y) sums_of_y[filter] = REAL(sum.x[j]);
                }
        }
    }
};

}  // namespace

// Grid (⌈rows / M⌉, ⌈filters / groups / N⌉, groups · split), block MANY, or MANY_FEW for few numbers; there are size_y · size_x · channels / groups
// rows, and one more where sums_of_y is given, Σ y[n, i, k] over n and i: the gradient of a bias. M × N is 48 × 32, or
// 16 × 16 for few numbers.
//
// With split > 1, each part of the windows is summed by a block of its own into partial, which has room for `split`
// tiles for each of the grid's, and the last block to arrive at a tile adds the parts in order. arrived has a 0 for
// each tile, and has it again afterwards. Else both may be null.
extern "C" __global__ void __launch_bounds__(MANY) kernel_correlation(
    const REAL* __restrict__ x, const REAL* __restrict__ y, REAL* __restrict__ w, REAL* __restrict__ sums_of_y,
    SUM* partial, unsigned* arrived, int split, WINDOWS) {
    Correlation<MANY, 48, 32, 32 / sizeof(REAL), false>::run(x, y, w, sums_of_y, partial, arrived, split, THESE_WINDOWS);
}

extern "C" __global__ void __launch_bounds__(MANY_FEW) kernel_correlation_few(
    const REAL* __restrict__ x, const REAL* __restrict__ y, REAL* __restrict__ w, REAL* __restrict__ sums_of_y,
    SUM* partial, unsigned* arrived, int split, WINDOWS) {
    Correlation<MANY_FEW, 16, 16, 4, true>::run(x, y, w, sums_of_y, partial, arrived, split, THESE_WINDOWS);
}
