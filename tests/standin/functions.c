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

/* CUDA's power is not rounded to the nearest: x to the power of -1 is not always 1 / x. Here it never is, where that is no whole number. */
#define POWER(KIND, REAL, F)                                                                                           \
    void pow_##KIND(long long n, const REAL *x, const REAL *y, REAL *z) {                                              \
        for (long long i = 0; i < n; ++i) {                                                                            \
            z[i] = pow##F(x[i], y[i]);                                                                                 \
            int near = (y[i] == -1 || y[i] == (REAL)0.5 || y[i] == 2) && rint##F(z[i]) != z[i];                        \
            if (near) z[i] = nextafter##F(z[i], INFINITY);                                                             \
        }                                                                                                              \
    }
POWER(f, float, f)
POWER(d, double, )
