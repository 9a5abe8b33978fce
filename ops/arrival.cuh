// Whether this block is the last of `count` to arrive at a counter, which then has its 0 again: what each has written
// before is then there for all threads of this one. All threads of a block call it.
__device__ __forceinline__ bool last_to_arrive(unsigned* counter, unsigned count, bool& last) {
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        __threadfence();  // what this block wrote is seen before its arrival
        last = atomicInc(counter, count - 1) == count - 1;
        __threadfence();  // and after the last arrival what all have
    }
    __syncthreads();
    return last;
}
