// Adam's updates of a flat buffer of parameters, each in one pass: the arithmetic of update.py in its order.
//
//   adam:             θ ← shrink θ,  s ← β₁ s + g,  r ← β₂ r + g²,  θ ← θ - α s / (√r + ε)
//   adam_documented:  m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  θ ← θ - α m / (√v + ε)
//
// adam is `adamw` too; for `adam` itself shrink is 1, which leaves θ as it is to the last bit. What may change from
// one update to the next is given twice: `…_at` points to the number, or is null, and then the number itself counts.
// Grid and block of any size along x. Each buffer holds size elements.
#ifndef REAL
#define REAL float
#endif

namespace {

struct alignas(16) Four {
    REAL x[4];
};

struct Corrected {
    REAL learning_rate, epsilon, shrink, beta_1, beta_2;

    __device__ __forceinline__ void operator()(REAL& theta, REAL g, REAL& s, REAL& r) const {
        REAL shrunk = theta * shrink;
        s = s * beta_1 + g;
        r = r * beta_2 + g * g;
        theta = shrunk - s / (sqrt(r) + epsilon) * learning_rate;
    }
};

struct Documented {
    REAL learning_rate, epsilon, beta_1, rest_1, beta_2, rest_2;

    __device__ __forceinline__ void operator()(REAL& theta, REAL g, REAL& m, REAL& v) const {
        m = m * beta_1 + g * rest_1;
        v = v * beta_2 + g * rest_2 * g;
        theta = theta - m / (sqrt(v) + epsilon) * learning_rate;
    }
};

__device__ bool begins_four(const REAL* x) { return reinterpret_cast<unsigned long long>(x) % alignof(Four) == 0; }

template <typename Update>
__device__ __forceinline__ void update_all(
    Update update, REAL* theta, const REAL* gradient, REAL* first, REAL* second, long long size) {
    long long begin = (long long)blockIdx.x * blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
    long long done = 0;
    if (begins_four(theta) && begins_four(gradient) && begins_four(first) && begins_four(second)) {
        done = size / 4 * 4;
        for (long long i = begin; i < size / 4; i += step) {
            Four x = reinterpret_cast<Four*>(theta)[i], g = reinterpret_cast<const Four*>(gradient)[i];
            Four y = reinterpret_cast<Four*>(first)[i], z = reinterpret_cast<Four*>(second)[i];
#pragma unroll
            for (int j = 0; j < 4; ++j) update(x.x[j], g.x[j], y.x[j], z.x[j]);
            reinterpret_cast<Four*>(theta)[i] = x;
            reinterpret_cast<Four*>(first)[i] = y;
            reinterpret_cast<Four*>(second)[i] = z;
        }
    }
    for (long long i = done + begin; i < size; i += step) update(theta[i], gradient[i], first[i], second[i]);
}

}  // namespace

extern "C" __global__ void adam(
    REAL* __restrict__ theta, const REAL* __restrict__ gradient, REAL* __restrict__ s, REAL* __restrict__ r,
    long long size, const REAL* learning_rate_at, REAL learning_rate, const REAL* epsilon_at, REAL epsilon,
    const REAL* shrink_at, REAL shrink, REAL beta_1, REAL beta_2) {
    Corrected update = {learning_rate_at ? *learning_rate_at : learning_rate, epsilon_at ? *epsilon_at : epsilon,
                        shrink_at ? *shrink_at : shrink, beta_1, beta_2};
    update_all(update, theta, gradient, s, r, size);
}

// rest_1 is 1 - β₁ and rest_2 is 1 - β₂, rounded once.
extern "C" __global__ void adam_documented(
    REAL* __restrict__ theta, const REAL* __restrict__ gradient, REAL* __restrict__ m, REAL* __restrict__ v,
    long long size, const REAL* learning_rate_at, REAL learning_rate, REAL epsilon, REAL beta_1, REAL rest_1,
    REAL beta_2, REAL rest_2) {
    Documented update = {learning_rate_at ? *learning_rate_at : learning_rate, epsilon, beta_1, rest_1, beta_2, rest_2};
    update_all(update, theta, gradient, m, v, size);
}
