// Rows picked out of a table, for batches.
//
//   gather:  out[i, j] = x[places[i], j] · scale
//
// x is rows_in × width of SOURCE, out rows × width of REAL, both row by row. A negative place counts from the end;
// what is outside counts as the nearest row.
#ifndef REAL
#define REAL float
#endif
#ifndef SOURCE
#define SOURCE float
#endif
#ifndef INDEX
#define INDEX long long
#endif

namespace {

template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Run {
    T x[N];
};

template <typename T> __device__ bool begins_run(const T* x) {
    return reinterpret_cast<unsigned long long>(x) % alignof(Run<T, 4>) == 0;
}

// N elements at a time; Count is as wide as a number below rows · width needs, for the sake of its division.
template <int N, typename Count, typename Source, typename Index, typename Real>
__device__ __forceinline__ void gather_runs(
    const Source* x, const Index* places, Real* out, long long rows, long long width, long long rows_in, Real scale,
    unsigned block, unsigned blocks) {
    Count runs = Count(width / N), count = Count(rows) * runs, step = Count(blocks) * blockDim.x;
    for (Count at = Count(block) * blockDim.x + threadIdx.x; at < count; at += step) {
        Count row = at / runs;
        long long place = (long long)places[row];
        place = place < 0 ? place + rows_in : place;
        place = place < 0 ? 0 : place < rows_in ? place : rows_in - 1;
        const auto from = reinterpret_cast<const Run<Source, N>*>(x + place * width)[at - row * runs];
        Run<Real, N> to;
#pragma unroll
        for (int i = 0; i < N; ++i) to.x[i] = (Real)from.x[i] * scale;
        reinterpret_cast<Run<Real, N>*>(out)[at] = to;
    }
}

// The work of one of so many blocks.
template <typename Source, typename Index, typename Real>
__device__ __forceinline__ void gather_rows(
    const Source* x, const Index* places, Real* out, long long rows, long long width, long long rows_in, Real scale,
    unsigned block, unsigned blocks) {
    bool four = width % 4 == 0 && begins_run(x) && begins_run(out);
    bool few = (long long)blocks * blockDim.x < (1ll << 31) && (!width || rows < (1ll << 31) / width);
    if (four && few) {
        gather_runs<4, unsigned>(x, places, out, rows, width, rows_in, scale, block, blocks);
    } else if (four) {
        gather_runs<4, unsigned long long>(x, places, out, rows, width, rows_in, scale, block, blocks);
    } else if (few) {
        gather_runs<1, unsigned>(x, places, out, rows, width, rows_in, scale, block, blocks);
    } else {
        gather_runs<1, unsigned long long>(x, places, out, rows, width, rows_in, scale, block, blocks);
    }
}

}  // namespace

// Grid and block of any size along x; rows_in > 0 where rows · width > 0.
extern "C" __global__ void gather(
    const SOURCE* __restrict__ x, const INDEX* __restrict__ places, REAL* __restrict__ out, long long rows,
    long long width, long long rows_in, REAL scale) {
    gather_rows(x, places, out, rows, width, rows_in, scale, blockIdx.x, gridDim.x);
}
