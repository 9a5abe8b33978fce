// Matrix products for layers, and the sums over columns that go with them.
//
//   product:      out[i, j] = Σ_k a[i, k] b[k, j]  (+ bias[j])  (max(·, 0) where relu is set)
//   column_sums:  out[j] = Σ_i x[i, j]
//
// Where `passes` is given, each element counts times 1 if its element of passes is > 0, else times 0: the gradient
// that comes through a ReLU. Every sum is taken in a fixed order, so that results repeat to the last bit.
#ifndef REAL
#define REAL float
#endif
#ifndef SUM
#define SUM REAL
#endif
#ifndef PASSED
#define PASSED REAL
#define TO_PASSED
#endif

#define TILE_M 32       // rows of out that a block computes
#define TILE_N 32       // columns of out that a block computes
#define TILE_K 32       // terms of the sum that are in shared memory at a time
#define THREADS 128     // of a block of `product`; each computes 4 rows of 2 columns
#define SUM_COLUMNS 32  // of a block of `column_sums`: threadIdx.x
#define SUM_ROWS 16     // the same: threadIdx.y

#define PADDED 36  // elements between rows of a tile: 8 rows of 4 elements lie in 32 different banks

namespace {

struct alignas(16) Four {
    REAL x[4];
};

struct alignas(2 * sizeof(REAL)) Two {
    REAL x[2];
};

// One thread's 8 elements of a panel, TILE_K × 32 of an operand, on their way to shared memory.
struct Share {
    const REAL* x;
    const REAL* passes;
    long long across, along;  // strides: within the panel's 32, and along k
    int width;                // how many of the 32 there are
    int ones;                 // the one of the 32 that is 1 everywhere, besides them; -1 where none is
    int c, k;                 // where the first of the 8 is; the others by these steps
    int c_step, k_step, k_jump;
    REAL values[8], gates[8];

    __device__ Share(
        const REAL* x, const REAL* passes, long long across, long long along, int first, int width, bool and_ones)
        : x(x + first * across), passes(passes ? passes + first * across : nullptr), across(across), along(along),
          width(width - first), ones(and_ones ? width - first : -1) {
        int t = threadIdx.x;
        if (along == 1) {  // a warp reads 4 runs of 8 along k
            c = t / 8, k = t % 8, c_step = 16, k_step = 8, k_jump = 0;
        } else {  // a warp reads the 32 across
            c = t % 32, k = t / 32, c_step = 0, k_step = 4, k_jump = 16;
        }
    }

    __device__ __forceinline__ void load(int begin, int end) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            int column = c + i / 4 * c_step, term = begin + k + i % 4 * k_step + i / 4 * k_jump;
            bool there = column < width && term < end;
            long long at = column * across + term * along;
            values[i] = there ? x[at] : REAL(column == ones && term < end);
            if (passes) gates[i] = there ? passes[at] : REAL(0);
        }
    }

    __device__ __forceinline__ void store(REAL (*tile)[PADDED]) const {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            REAL value = passes ? values[i] * REAL(gates[i] > 0) : values[i];
            tile[k + i % 4 * k_step + i / 4 * k_jump][c + i / 4 * c_step] = value;
        }
    }
};

}  // namespace

// Grid (⌈n / TILE_N⌉, ⌈m / TILE_M⌉, split), block THREADS; m, n > 0. a is m × k, b is k × n, with strides in elements,
// of which one is best 1; passes_a and passes_b have the strides of a and b. out is m × n, row by row. bias, passes_a,
// passes_b and sums_of_b, which gets Σ_k b[k, j] and counts as a further row of out, may be null.
//
// With split > 1, block z sums its part of the terms into partial[z], each m × n, and the last block to arrive at a
// tile adds the parts in order. arrived has a 0 for each tile, and has it again afterwards. Else both may be null.
extern "C" __global__ void __launch_bounds__(THREADS) product(
    const REAL* __restrict__ a, const REAL* __restrict__ b, const REAL* __restrict__ bias,
    const REAL* __restrict__ passes_a, const REAL* __restrict__ passes_b, REAL* __restrict__ out,
    REAL* __restrict__ sums_of_b, SUM* partial, unsigned* arrived, int m, int n, int k, long long a_row,
    long long a_column, long long b_row, long long b_column, int split, int relu) {
    __shared__ __align__(16) REAL tile_a[2][TILE_K][PADDED];
    __shared__ __align__(16) REAL tile_b[2][TILE_K][PADDED];
    __shared__ bool last;

    int per_part = k / split + (k % split != 0);
    long long begin = (long long)per_part * blockIdx.z;
    int end = begin + per_part < k ? int(begin) + per_part : k;
    Share share_a(a, passes_a, a_row, a_column, blockIdx.y * TILE_M, m, sums_of_b);
    Share share_b(b, passes_b, b_column, b_row, blockIdx.x * TILE_N, n, false);
    int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 2;

    SUM sums[4][2] = {};
    if (begin < end) share_a.load(int(begin), end), share_b.load(int(begin), end);
    // Tiles take turns in two buffers, so that one barrier does: whoever is past it has left the other buffer.
    for (int at = begin < end ? int(begin) : end, turn = 0; at < end; at += TILE_K, turn ^= 1) {
        share_a.store(tile_a[turn]);
        share_b.store(tile_b[turn]);
        __syncthreads();
        int terms = end - at < TILE_K ? end - at : TILE_K;
        if (terms < end - at) share_a.load(at + TILE_K, end), share_b.load(at + TILE_K, end);
        for (int first = 0; first < terms; first += 8) {
#pragma unroll
            for (int term = first; term < first + 8; ++term) {  // past the end are zeros
                Four x = *reinterpret_cast<const Four*>(&tile_a[turn][term][row]);
                Two y = *reinterpret_cast<const Two*>(&tile_b[turn][term][column]);
#pragma unroll
                for (int i = 0; i < 4; ++i)
#pragma unroll
                    for (int j = 0; j < 2; ++j) sums[i][j] += SUM(x.x[i]) * SUM(y.x[j]);
            }
        }
    }

    int rows = m + (sums_of_b != nullptr);
    row += blockIdx.y * TILE_M, column += blockIdx.x * TILE_N;
    if (split > 1) {
        long long size = (long long)rows * n;
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 2; ++j)
                if (row + i < rows && column + j < n)
                    partial[blockIdx.z * size + (row + i) * (long long)n + column + j] = sums[i][j];
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();  // this part is seen before its arrival
            last = atomicInc(&arrived[blockIdx.y * gridDim.x + blockIdx.x], split - 1) == unsigned(split - 1);
            __threadfence();  // and after the last arrival all parts
        }
        __syncthreads();
        if (!last) return;
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 2; ++j) sums[i][j] = 0;
        const SUM* part = partial + row * (long long)n + column;
#pragma unroll 4  // all their loads are on their way at a time
        for (int z = 0; z < split; ++z, part += size)
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 2; ++j)
                    if (row + i < rows && column + j < n) sums[i][j] += part[i * (long long)n + j];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j)
            if (row + i < rows && column + j < n) {
                REAL z = REAL(sums[i][j]);
                if (row + i == m) {
                    sums_of_b[column + j] = z;
                    continue;
                }
                if (bias) z += bias[column + j];
                if (relu && z <= 0) z = 0;  // a NaN stays
                out[(row + i) * (long long)n + column + j] = z;
            }
}

// Grid (⌈columns / SUM_COLUMNS⌉, split), block (SUM_COLUMNS, SUM_ROWS). x is rows × columns, row by row; passes, of the
// same shape, may be null.
//
// passed takes the elements as they are counted, as PASSED of TO_PASSED; it may be null.
//
// With split > 1, block y sums its part of the rows into partial[y], each of so many columns, and the last block to
// arrive at its columns adds the parts in order. arrived has a 0 for each block of columns, and has it again afterwards.
// Else both may be null.
extern "C" __global__ void __launch_bounds__(SUM_COLUMNS * SUM_ROWS) column_sums(
    const REAL* __restrict__ x, const REAL* __restrict__ passes, REAL* __restrict__ out,
    PASSED* __restrict__ passed, SUM* partial, unsigned* arrived, long long rows, int columns) {
    __shared__ SUM sums[SUM_ROWS][SUM_COLUMNS];
    int column = blockIdx.x * SUM_COLUMNS + threadIdx.x;
    bool there = column < columns;
    long long per_part = rows / gridDim.y + (rows % gridDim.y != 0), begin = per_part * blockIdx.y;
    long long end = begin + per_part < rows ? begin + per_part : rows;
    SUM sum = 0;
    if (there) {
#pragma unroll 4
        for (long long row = begin + threadIdx.y; row < end; row += SUM_ROWS) {
            long long at = row * columns + column;
            REAL counted = passes ? x[at] * REAL(passes[at] > 0) : x[at];
            if (passed) passed[at] = TO_PASSED(counted);
            sum += SUM(counted);
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y) return;

    for (int i = 1; i < SUM_ROWS; ++i) sum += sums[i][threadIdx.x];
    if (gridDim.y > 1) {
        if (there) partial[blockIdx.y * (long long)columns + column] = sum;
        __syncwarp();
        bool last = false;
        if (threadIdx.x == 0) {
            __threadfence();  // this part is seen before its arrival
            last = atomicInc(&arrived[blockIdx.x], gridDim.y - 1) == gridDim.y - 1;
            __threadfence();  // and after the last arrival all parts
        }
        __syncwarp();
        if (!__shfl_sync(0xffffffffu, int(last), 0)) return;
        sum = 0;
        if (there)
            for (unsigned y = 0; y < gridDim.y; ++y) sum += partial[y * (long long)columns + column];
    }
    if (there) out[column] = REAL(sum);
}
