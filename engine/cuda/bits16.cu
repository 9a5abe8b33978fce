// float32 in 16 bits, to the nearest, ties to even:  out[i] = bits of x[i]
//
// bfloat16 has float32's range and 8 bits of significand. float16 has 11 bits; what reaches 65520 becomes infinite, what
// is below 2^-14 keeps steps of 2^-24. NaN stays NaN.

__device__ __forceinline__ unsigned short bfloat16_bits(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (unsigned short)(bits >> 16 | 0x40u);
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

__device__ __forceinline__ unsigned short float16_bits(float x) {
    unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
    if (bits < 0x38800000u)  // the sum with 1/2 is rounded to steps of 2^-24
        return (unsigned short)(sign | (__float_as_uint(__fadd_rn(__uint_as_float(bits), 0.5f)) - 0x3f000000u));
    return (unsigned short)(sign | (bits + 0xfffu + (bits >> 13 & 1u) - 0x38000000u) >> 13);
}

// Grid and block of any size.
extern "C" __global__ void to_bfloat16(const float* __restrict__ x, unsigned short* __restrict__ out, long long count) {
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long i = first; i < count; i += step) out[i] = bfloat16_bits(x[i]);
}

extern "C" __global__ void to_float16(const float* __restrict__ x, unsigned short* __restrict__ out, long long count) {
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long i = first; i < count; i += step) out[i] = float16_bits(x[i]);
}
