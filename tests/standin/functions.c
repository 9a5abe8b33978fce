/* Functions of elements as the kernels of tests/cuda compute them on the host: by the C library, not by NumPy.

   So a kernel gives what the ufuncs of the stand-in give one by one, to the last bit, as on a card. */

#include <math.h>

#define UNARY(NAME)                                                                                                    \
    void NAME##_f(long long n, const float *x, float *y) {                                                             \
        for (long long i = 0; i < n; ++i) y[i] = NAME##f(x[i]);                                                        \
    }                                                                                                                  \
    void NAME##_d(long long n, const double *x, double *y) {                                                           \
        for (long long i = 0; i < n; ++i) y[i] = NAME(x[i]);                                                           \
    }

UNARY(exp)
UNARY(exp2)
UNARY(expm1)
UNARY(log)
UNARY(log1p)
UNARY(log2)
UNARY(log10)
UNARY(sin)
UNARY(cos)
UNARY(tan)
UNARY(asin)
UNARY(acos)
UNARY(atan)
UNARY(sinh)
UNARY(cosh)
UNARY(tanh)
UNARY(asinh)
UNARY(acosh)
UNARY(atanh)

void pow_f(long long n, const float *x, const float *y, float *z) {
    for (long long i = 0; i < n; ++i) z[i] = powf(x[i], y[i]);
}

void pow_d(long long n, const double *x, const double *y, double *z) {
    for (long long i = 0; i < n; ++i) z[i] = pow(x[i], y[i]);
}
