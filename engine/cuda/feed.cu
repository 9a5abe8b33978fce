// The numbers of the next step, for a step that runs again and again without the host.
//
//   feed:  row ← table[counter],  counter ← counter + 1
//
// Grid and block of any size along x. table has rows of `bytes`, a multiple of 16, and begins, as row does, at a
// multiple of 16. arrived is a 0, and is 0 again afterwards.
extern "C" __global__ void feed(
    const unsigned char* __restrict__ table, unsigned char* __restrict__ row, long long bytes,
    unsigned long long* counter, unsigned* arrived) {
    unsigned long long number = *counter;
    const uint4* from = reinterpret_cast<const uint4*>(table + number * bytes);
    long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
    for (long long i = first; i < bytes / 16; i += step) reinterpret_cast<uint4*>(row)[i] = from[i];
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();  // this block has read the counter before it arrives
        bool last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
        __threadfence();  // and after the last arrival every block has
        if (last) *counter = number + 1;
    }
}
