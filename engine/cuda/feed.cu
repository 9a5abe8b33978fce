// The numbers of the next step, for a step that runs again and again without the host.
//
//   feed:  row ← table[counter],  counter ← counter + 1
//
namespace {

// The work of one of so many blocks.
__device__ __forceinline__ void copy_row(
    const unsigned char* from, unsigned char* row, long long bytes, unsigned block, unsigned blocks) {
    long long step = (long long)blocks * blockDim.x;
    for (long long i = (long long)block * blockDim.x + threadIdx.x; i < bytes / 16; i += step)
        reinterpret_cast<uint4*>(row)[i] = reinterpret_cast<const uint4*>(from)[i];
}

// What all blocks do at their end, after they have taken what they need of row `number`.
__device__ __forceinline__ void count_row(unsigned long long* counter, unsigned long long number, unsigned* arrived) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();  // this block has read the counter before it arrives
        bool last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
        __threadfence();  // and after the last arrival every block has
        if (last) *counter = number + 1;
    }
}

}  // namespace

// Grid and block of any size along x. table has rows of `bytes`, a multiple of 16, and begins, as row does, at a
// multiple of 16. arrived is a 0, and is 0 again afterwards.
extern "C" __global__ void feed(
    const unsigned char* __restrict__ table, unsigned char* __restrict__ row, long long bytes,
    unsigned long long* counter, unsigned* arrived) {
    unsigned long long number = *counter;
    copy_row(table + number * bytes, row, bytes, blockIdx.x, gridDim.x);
    count_row(counter, number, arrived);
}
