// The softmax cross-entropy of rows of logits, and its gradient.
//
//   softmax_cross_entropy:           out = mean over rows r of Σ_k t[r, k] (log Σ_j exp(x[r, j]) - x[r, k])
//   softmax_cross_entropy_gradient:  out[r, k] = gloss (p[r, k] Σ_i t[r, i] - t[r, k]) / rows,  p = softmax(x)
//
// The targets t are either rows × classes numbers (labels is null) or one label for each row, where t is 1 at the
// label and else 0. Logits are shifted by the greatest of their row, so that no exp overflows. A warp takes a row at
// a time, also where a loop takes the loss along with what else is done row by row. Sums are taken in a fixed order, so
// that results repeat to the last bit.
#ifndef REAL
#define REAL float
#endif
#ifndef SUM
#define SUM REAL
#endif

#define ROWS 8       // that a block takes at a time: a warp for each
#define THREADS 256  // of a block

namespace {

__device__ __forceinline__ SUM sum_of_warp(SUM x) {
#pragma unroll
    for (int by = 16; by; by /= 2) x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

__device__ __forceinline__ REAL greatest(const REAL* row, int classes, int lane) {
    REAL high = row[lane < classes ? lane : 0];
    for (int k = lane + 32; k < classes; k += 32) high = row[k] > high ? row[k] : high;
#pragma unroll
    for (int by = 16; by; by /= 2) {
        REAL other = __shfl_xor_sync(0xffffffffu, high, by);
        high = other > high ? other : high;
    }
    return high;
}

__device__ __forceinline__ SUM sum_of_exp(const REAL* row, REAL high, int classes, int lane) {
    SUM sum = 0;
    for (int k = lane; k < classes; k += 32) sum += SUM(exp(row[k] - high));
    return sum_of_warp(sum);
}

__device__ __forceinline__ SUM of_targets(
    const REAL* row, REAL high, SUM surprise, const long long* labels, long long r, int classes, int) {
    long long label = labels[r] < 0 ? 0 : labels[r] < classes ? labels[r] : classes - 1;
    return surprise - SUM(row[label] - high);
}

__device__ __forceinline__ SUM of_targets(
    const REAL* row, REAL high, SUM surprise, const REAL* targets, long long r, int classes, int lane) {
    SUM sum = 0;
#pragma unroll 1  // more at a time takes more registers than there are
    for (int k = lane; k < classes; k += 32) {
        REAL t = targets[r * classes + k];
        if (t != 0) sum += SUM(t) * (surprise - SUM(row[k] - high));  // 0 · log 0 is 0
    }
    return sum_of_warp(sum);
}

__device__ __forceinline__ SUM mass_of(const long long*, long long, int, int) { return 1; }

__device__ __forceinline__ SUM mass_of(const REAL* targets, long long r, int classes, int lane) {
    SUM mass = 0;
    for (int k = lane; k < classes; k += 32) mass += SUM(targets[r * classes + k]);
    return sum_of_warp(mass);
}

__device__ __forceinline__ REAL target(const long long* labels, long long r, int k, int) { return REAL(k == labels[r]); }

__device__ __forceinline__ REAL target(const REAL* targets, long long r, int k, int classes) {
    return targets[r * classes + k];
}

// Row r's term of the loss, in all lanes of the warp. Targets: long long for labels, or REAL.
template <typename Targets>
__device__ __forceinline__ SUM surprise_of_row(
    const REAL* logits, const Targets* targets, long long r, long long, int classes, int lane) {
    const REAL* row = logits + r * classes;
    REAL high = greatest(row, classes, lane);
    SUM surprise = log(sum_of_exp(row, high, classes, lane));
    return of_targets(row, high, surprise, targets, r, classes, lane);
}

// Row r of the gradient.
template <typename Targets>
__device__ __forceinline__ void gradient_of_row(
    const REAL* gloss, const REAL* logits, const Targets* targets, REAL* out, long long r, long long rows, int classes,
    int lane) {
    const REAL* row = logits + r * classes;
    REAL inverse = REAL(1.0 / double(rows)), outer = gloss[0], high = greatest(row, classes, lane);
    SUM sum = sum_of_exp(row, high, classes, lane), mass = mass_of(targets, r, classes, lane);
    for (int k = lane; k < classes; k += 32) {
        REAL p = exp(row[k] - high) / REAL(sum);
        out[r * classes + k] = outer * ((p * REAL(mass) - target(targets, r, k, classes)) * inverse);
    }
}

}  // namespace

// Grid of any size, block THREADS; classes > 0. A label that is none of the classes counts as the nearest one.
// partial has room for a number from each block; arrived is a 0, and is 0 again afterwards.
extern "C" __global__ void __launch_bounds__(THREADS) softmax_cross_entropy(
    const REAL* __restrict__ logits, const REAL* __restrict__ targets, const long long* __restrict__ labels,
    REAL* __restrict__ out, SUM* partial, unsigned* arrived, long long rows, int classes) {
    __shared__ SUM of_warps[ROWS];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    SUM total = 0;
    for (long long r = (long long)blockIdx.x * ROWS + warp; r < rows; r += (long long)gridDim.x * ROWS) {
        if (labels) total += surprise_of_row(logits, labels, r, rows, classes, lane);
        else total += surprise_of_row(logits, targets, r, rows, classes, lane);
    }
    if (lane == 0) of_warps[warp] = total;
    __syncthreads();
    if (warp) return;

    bool last = false;
    if (lane == 0) {
        for (int i = 1; i < ROWS; ++i) total += of_warps[i];
        partial[blockIdx.x] = total;
        __threadfence();  // this sum is seen before its arrival
        last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
        __threadfence();  // and after the last arrival all sums
    }
    __syncwarp();
    if (!__shfl_sync(0xffffffffu, int(last), 0)) return;
    total = 0;
    for (unsigned i = lane; i < gridDim.x; i += 32) total += partial[i];
    total = sum_of_warp(total);
    if (lane == 0) out[0] = REAL(total / SUM(rows));
}

// Grid of any size, block THREADS; classes > 0. gloss is the gradient of the loss, one number. A label that is none of
// the classes has no 1.
extern "C" __global__ void __launch_bounds__(THREADS) softmax_cross_entropy_gradient(
    const REAL* __restrict__ logits, const REAL* __restrict__ targets, const long long* __restrict__ labels,
    const REAL* __restrict__ gloss, REAL* __restrict__ out, long long rows, int classes) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (long long r = (long long)blockIdx.x * ROWS + warp; r < rows; r += (long long)gridDim.x * ROWS) {
        if (labels) gradient_of_row(gloss, logits, labels, out, r, rows, classes, lane);
        else gradient_of_row(gloss, logits, targets, out, r, rows, classes, lane);
    }
}
