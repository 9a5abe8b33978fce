// Matrix products for layers, and the sums over columns that go with them.
//
//   product:      out[i, j] = Σ_k a[i, k] b[k, j]  (+ bias[j])  (max(·, 0) where relu is set)
//   column_sums:  out[j] = Σ_i x[i, j]
//
// Where `passes` is given, each element counts times 1 if its element of passes is > 0, else times 0: the gradient
// that comes through a ReLU. Every sum is taken in a fixed order, so that results repeat to the last bit.
//
// Small products are latency: a block has all it needs of up to PANEL terms on its way at once, 16 bytes at a time where
// they lie so, and its groups share the terms, so that blocks meet for longer sums alone.
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

#define THREADS 256     // of a block of `product`: GROUPS of 8 × 8 threads
#define GROUPS 4        // of which each takes every fourth term
#define WIDEST 32       // rows and columns of out that a block computes, or half as many
#define PANEL 128       // terms that are in shared memory at a time; half as many of double
#define SUM_COLUMNS 32  // of a block of `column_sums`: threadIdx.x
#define SUM_ROWS 16     // the same: threadIdx.y

namespace {

constexpr int TERMS = PANEL * 4 / int(sizeof(REAL));

struct alignas(16) Four {
    REAL x[4];
};

template <int N> struct alignas(N * sizeof(REAL) < 16 ? N * sizeof(REAL) : 16) Run {
    REAL x[N];
};

template <int TILE> constexpr int padded = TILE + 4;  // elements between terms: 8 lots of 4 lie in 32 different banks

// One operand: TILE × terms of it are taken at a time, in runs of 4 along the axis on which neighbours lie.
struct Operand {
    const REAL* x;
    const REAL* passes;
    long long across, along;  // strides: within the tile, and along the terms
    int width;                // how many of the tile's elements there are
    int ones;                 // the one of them that is 1 everywhere, besides; -1 where none is
    bool four;                // runs of 4 begin at multiples of 16 bytes

    __device__ Operand(
        const REAL* x, const REAL* passes, long long across, long long along, int first, int width, bool and_ones)
        : x(x + first * across), passes(passes ? passes + first * across : nullptr), across(across), along(along),
          width(width - first), ones(and_ones ? width - first : -1) {
        four = (along == 1 ? across : along) % 4 == 0 && (along == 1 || across == 1) && begins_run(this->x)
            && begins_run(this->passes);
    }

    __device__ static bool begins_run(const REAL* x) { return reinterpret_cast<unsigned long long>(x) % 16 == 0; }
};

// A thread's runs of a panel, on their way to shared memory.
template <int TILE> struct Share {
    static constexpr int RUNS = TILE * TERMS / 4 / THREADS;
    Four values[RUNS], gates[RUNS];

    // Where run i begins: a warp takes 16 × 2 runs along the terms, else as many across as there are. So a warp reads
    // whole sectors, and writes to 32 different banks.
    __device__ __forceinline__ static void place(bool along, int i, int& c, int& k) {
        int t = i * THREADS + int(threadIdx.x);
        if (along) c = t / 2 % TILE, k = (t % 2 + t / (2 * TILE) * 2) * 4;
        else c = t % (TILE / 4) * 4, k = t / (TILE / 4);
    }

    __device__ __forceinline__ void load(const Operand& of, int begin, int end) {
        const bool along = of.along == 1;
#pragma unroll
        for (int i = 0; i < RUNS; ++i) {
            int c, k;
            place(along, i, c, k);
            const int term = begin + k, more_c = along ? 0 : 1, more_k = along ? 1 : 0;
            const long long at = c * of.across + term * of.along, step = along ? 1 : of.across;
            if (of.four && c + 3 * more_c < of.width && term + 3 * more_k < end) {
                values[i] = *reinterpret_cast<const Four*>(of.x + at);
                if (of.passes) gates[i] = *reinterpret_cast<const Four*>(of.passes + at);
                continue;
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int column = c + j * more_c;
                const bool within = term + j * more_k < end, there = column < of.width && within;
                values[i].x[j] = there ? of.x[at + j * step] : REAL(column == of.ones && within);
                if (of.passes) gates[i].x[j] = there ? of.passes[at + j * step] : REAL(0);
            }
        }
    }

    __device__ __forceinline__ void store(const Operand& of, REAL* tile) const {
        const bool along = of.along == 1;
#pragma unroll
        for (int i = 0; i < RUNS; ++i) {
            int c, k;
            place(along, i, c, k);
            Four run = values[i];
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (of.passes) run.x[j] = run.x[j] * REAL(gates[i].x[j] > 0);
            if (along) {
#pragma unroll
                for (int j = 0; j < 4; ++j) tile[(k + j) * padded<TILE> + c] = run.x[j];
            } else {
                *reinterpret_cast<Four*>(tile + k * padded<TILE> + c) = run;
            }
        }
    }
};

// A product, as `product` takes it.
struct Task {
    const REAL *a, *b, *bias, *passes_a, *passes_b;
    REAL *out, *sums_of_b;
    SUM* partial;
    unsigned* arrived;
    int m, n, k;
    long long a_row, a_column, b_row, b_column;
    int split, relu, tile;
};

struct Shared {
    alignas(16) REAL a[TERMS * padded<WIDEST>];
    alignas(16) REAL b[TERMS * padded<WIDEST>];
    bool last;
};

// Block x of a product: a tile of out, or of one part of its terms.
template <int TILE> __device__ void multiply(const Task& t, int x, Shared& shared) {
    constexpr int EACH = TILE / 8, OWN = TILE * TILE / THREADS;
    static_assert(GROUPS * TILE * TILE * sizeof(SUM) <= sizeof(shared.a) + sizeof(shared.b), "sums lie there, too");
    const int rows = t.m + (t.sums_of_b != nullptr), across = (t.n + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    const int column = x % across * TILE, row = x / across % down * TILE, part = x / (across * down);
    const int per_part = ((t.k + t.split - 1) / t.split + 7) / 8 * 8;
    const long long begin = (long long)per_part * part;
    const int end = begin + per_part < t.k ? int(begin) + per_part : t.k;
    const Operand a(t.a, t.passes_a, t.a_row, t.a_column, row, t.m, t.sums_of_b);
    const Operand b(t.b, t.passes_b, t.b_column, t.b_row, column, t.n, false);
    const int group = int(threadIdx.x) / 64, i0 = int(threadIdx.x) / 8 % 8 * EACH, j0 = int(threadIdx.x) % 8 * EACH;

    SUM sums[EACH][EACH] = {};
    Share<TILE> share_a, share_b;
    if (begin < end) share_a.load(a, int(begin), end), share_b.load(b, int(begin), end);
    for (int at = begin < end ? int(begin) : end; at < end; at += TERMS) {
        share_a.store(a, shared.a);
        share_b.store(b, shared.b);
        __syncthreads();
        const int terms = end - at < TERMS ? end - at : TERMS;
        if (terms < end - at) share_a.load(a, at + TERMS, end), share_b.load(b, at + TERMS, end);
#pragma unroll 8
        for (int term = group; term < terms; term += GROUPS) {
            const auto u = *reinterpret_cast<const Run<EACH>*>(shared.a + term * padded<TILE> + i0);
            const auto v = *reinterpret_cast<const Run<EACH>*>(shared.b + term * padded<TILE> + j0);
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sums[i][j] += SUM(u.x[i]) * SUM(v.x[j]);
        }
        __syncthreads();
    }

    // The groups' sums, where the panels were; each thread then has some elements of the tile, side by side.
    SUM* const of_groups = reinterpret_cast<SUM*>(&shared);
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) of_groups[(group * TILE + i0 + i) * TILE + j0 + j] = sums[i][j];
    __syncthreads();
    SUM own[OWN];
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        const int at = i * THREADS + int(threadIdx.x);
        own[i] = of_groups[at];
#pragma unroll
        for (int g = 1; g < GROUPS; ++g) own[i] += of_groups[g * TILE * TILE + at];
    }

    const int first = row + int(threadIdx.x) / TILE, j = column + int(threadIdx.x) % TILE;
    constexpr int STEP = THREADS / TILE;
    if (t.split > 1) {
        const long long size = (long long)rows * t.n;
#pragma unroll
        for (int i = 0; i < OWN; ++i)
            if (first + i * STEP < rows && j < t.n)
                t.partial[part * size + (first + i * STEP) * (long long)t.n + j] = own[i];
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();  // this part is seen before its arrival
            shared.last = atomicInc(&t.arrived[x % (across * down)], t.split - 1) == unsigned(t.split - 1);
            __threadfence();  // and after the last arrival all parts
        }
        __syncthreads();
        if (!shared.last) return;
#pragma unroll
        for (int i = 0; i < OWN; ++i) own[i] = 0;
#pragma unroll 8  // all their loads are on their way at a time
        for (int z = 0; z < t.split; ++z)
#pragma unroll
            for (int i = 0; i < OWN; ++i)
                if (first + i * STEP < rows && j < t.n)
                    own[i] += t.partial[z * size + (first + i * STEP) * (long long)t.n + j];
    }
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
        const int r = first + i * STEP;
        if (r >= rows || j >= t.n) continue;
        REAL z = REAL(own[i]);
        if (r == t.m) {
            t.sums_of_b[j] = z;
            continue;
        }
        if (t.bias) z += t.bias[j];
        if (t.relu && z <= 0) z = 0;  // a NaN stays
        t.out[r * (long long)t.n + j] = z;
    }
}

}  // namespace

// Blocks of THREADS, in a row: tiles · split; m, n > 0. out is m × n, row by row; a block computes tile × tile of it, 16
// or 32. a is m × k, b is k × n, with strides in elements, of which one is best 1; passes_a and passes_b have the strides
// of a and b. bias, passes_a, passes_b and sums_of_b, which gets Σ_k b[k, j] and counts as a further row of out, may be
// null; so may out and a where m is 0, for the sums alone.
//
// With split > 1, a tile has so many blocks; block z of them sums its part of the terms into partial[z], each m × n, and
// the last one to arrive adds the parts in order. arrived has a 0 for each tile, and has it again afterwards. Else both
// may be null.
//
// Behind the first `blocks` are those of a second product, if there are more.
#define PRODUCT(_)                                                                                                     \
    const REAL *a##_, const REAL *b##_, const REAL *bias##_, const REAL *passes_a##_, const REAL *passes_b##_,         \
        REAL *out##_, REAL *sums_of_b##_, SUM *partial##_, unsigned *arrived##_, int m##_, int n##_, int k##_,         \
        long long a_row##_, long long a_column##_, long long b_row##_, long long b_column##_, int split##_,            \
        int relu##_, int tile##_
#define THIS_PRODUCT(_)                                                                                                \
    Task {                                                                                                             \
        a##_, b##_, bias##_, passes_a##_, passes_b##_, out##_, sums_of_b##_, partial##_, arrived##_, m##_, n##_, k##_, \
            a_row##_, a_column##_, b_row##_, b_column##_, split##_, relu##_, tile##_                                   \
    }
extern "C" __global__ void __launch_bounds__(THREADS) product(PRODUCT(1), PRODUCT(2), int blocks) {
    __shared__ Shared shared;
    const bool second = int(blockIdx.x) >= blocks;
    const Task task = second ? THIS_PRODUCT(2) : THIS_PRODUCT(1);
    const int block = int(blockIdx.x) - (second ? blocks : 0);
    if (task.tile == WIDEST) multiply<WIDEST>(task, block, shared);
    else multiply<WIDEST / 2>(task, block, shared);
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
