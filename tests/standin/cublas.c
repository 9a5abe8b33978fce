/* cuBLAS's matrix products on the host, for the stand-in: column-major, alpha and beta by host pointers.

   The fast types round float inputs first, to the nearest, ties to even, and accumulate in float. Those of 16 bits are
   leave to round so far, not an order: an H200 made TF32 of both (10 bits of the mantissa, float32's range). */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, FAST_16F = 74, FAST_16BF = 75, FAST_TF32 = 77 };

#define VERSION 130200

typedef struct {
    int alive;
    int mode;
    void *stream;
    void *workspace;
    size_t workspace_bytes;
} Handle;

/* Leaves `kept` explicit bits of the mantissa. */
static float rounded(float x, int kept) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x;
    int dropped = 23 - kept;
    bits += (1u << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
    bits &= ~((1u << dropped) - 1);
    memcpy(&x, &bits, 4);
    return x;
}

static float to_compute(float x, int compute) {
    return compute == FAST_TF32 || compute == FAST_16BF || compute == FAST_16F ? rounded(x, 10) : x;
}

static double loaded(const void *p, int type, long long i) {
    if (type == R_64F) return ((const double *)p)[i];
    if (type == R_32F) return ((const float *)p)[i];
    if (type == R_16F) return (float)((const _Float16 *)p)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static void stored(void *p, int type, long long i, double value) {
    if (type == R_64F) { ((double *)p)[i] = value; return; }
    float x = (float)value;
    if (type == R_32F) { ((float *)p)[i] = x; return; }
    if (type == R_16F) { ((_Float16 *)p)[i] = (_Float16)x; return; }
    uint32_t bits;
    x = rounded(x, 7);
    memcpy(&bits, &x, 4);
    ((uint16_t *)p)[i] = (uint16_t)(bits >> 16);
}

static int takes(int a, int b, int c, int compute) {
    if (compute == COMPUTE_64F) return a == R_64F && b == R_64F && c == R_64F;
    if (a != b || a == R_64F) return 0;
    if (compute == COMPUTE_32F) return c == a || c == R_32F;
    return (compute == FAST_16F || compute == FAST_16BF || compute == FAST_TF32) && a == R_32F && c == R_32F;
}

static int is_transposed(int operation) { return operation == 1 || operation == 2; }

/* The products of one matrix; op(A) is packed by columns of its k, op(B) by columns of its k. */
#define PRODUCT(NAME, REAL)                                                                                            \
    static int NAME(int ta, int tb, int m, int n, int k, REAL alpha, const void *a, int atype, int lda, const void *b, \
                    int btype, int ldb, REAL beta, void *c, int ctype, int ldc, int compute) {                         \
        REAL *left = malloc(sizeof(REAL) * ((size_t)m * k + 1)), *column = malloc(sizeof(REAL) * ((size_t)m + 1));     \
        if (!left || !column) { free(left); free(column); return ALLOC_FAILED; }                                       \
        int multiplies = alpha != 0 && k > 0;                                                                          \
        for (int p = 0; multiplies && p < k; ++p)                                                                      \
            for (int i = 0; i < m; ++i) {                                                                              \
                long long at = ta ? (long long)i * lda + p : (long long)p * lda + i;                                   \
                REAL x = (REAL)loaded(a, atype, at);                                                                   \
                left[(size_t)p * m + i] = compute == COMPUTE_64F ? x : (REAL)to_compute((float)x, compute);            \
            }                                                                                                          \
        for (int j = 0; j < n; ++j) {                                                                                  \
            for (int i = 0; i < m; ++i) column[i] = 0;                                                                 \
            for (int p = 0; multiplies && p < k; ++p) {                                                                \
                long long at = tb ? (long long)p * ldb + j : (long long)j * ldb + p;                                   \
                REAL y = (REAL)loaded(b, btype, at);                                                                   \
                y = compute == COMPUTE_64F ? y : (REAL)to_compute((float)y, compute);                                  \
                const REAL *x = left + (size_t)p * m;                                                                  \
                for (int i = 0; i < m; ++i) column[i] += x[i] * y;                                                     \
            }                                                                                                          \
            for (int i = 0; i < m; ++i) {                                                                              \
                long long at = (long long)j * ldc + i;                                                                 \
                REAL before = beta != 0 ? beta * (REAL)loaded(c, ctype, at) : 0; /* with beta = 0 C is not read */     \
                stored(c, ctype, at, (multiplies ? alpha * column[i] : 0) + before);                                   \
            }                                                                                                          \
        }                                                                                                              \
        free(left);                                                                                                    \
        free(column);                                                                                                  \
        return SUCCESS;                                                                                                \
    }

PRODUCT(product_float, float)
PRODUCT(product_double, double)

static int usable(const void *handle) { return handle && ((const Handle *)handle)->alive == 0x6b1a5; }

int cublasCreate_v2(void **handle) {
    if (!handle) return INVALID_VALUE;
    Handle *made = calloc(1, sizeof(Handle));
    if (!made) return ALLOC_FAILED;
    made->alive = 0x6b1a5;
    *handle = made;
    return SUCCESS;
}

int cublasDestroy_v2(void *handle) {
    if (!usable(handle)) return NOT_INITIALIZED;
    ((Handle *)handle)->alive = 0; /* kept, so that a use after it is noticed */
    return SUCCESS;
}

int cublasSetStream_v2(void *handle, void *stream) {
    if (!usable(handle)) return NOT_INITIALIZED;
    ((Handle *)handle)->stream = stream;
    ((Handle *)handle)->workspace = 0; /* as the real one does: back to the default workspace */
    return SUCCESS;
}

int cublasGetStream_v2(void *handle, void **stream) {
    if (!usable(handle)) return NOT_INITIALIZED;
    *stream = ((Handle *)handle)->stream;
    return SUCCESS;
}

int cublasSetWorkspace_v2(void *handle, void *workspace, size_t bytes) {
    if (!usable(handle)) return NOT_INITIALIZED;
    if ((uintptr_t)workspace % 256) return INVALID_VALUE;
    ((Handle *)handle)->workspace = workspace;
    ((Handle *)handle)->workspace_bytes = bytes;
    return SUCCESS;
}

int cublasSetMathMode(void *handle, int mode) {
    if (!usable(handle)) return NOT_INITIALIZED;
    int kind = mode & 15; /* 16 and 1 << 5 .. are flags */
    if (kind > 4) return INVALID_VALUE;
    ((Handle *)handle)->mode = mode;
    return SUCCESS;
}

int cublasGetMathMode(void *handle, int *mode) {
    if (!usable(handle)) return NOT_INITIALIZED;
    *mode = ((Handle *)handle)->mode;
    return SUCCESS;
}

int cublasGetVersion_v2(void *handle, int *version) {
    (void)handle;
    if (!version) return INVALID_VALUE;
    *version = VERSION;
    return SUCCESS;
}

int cublasGemmStridedBatchedEx(void *handle, int transa, int transb, int m, int n, int k, const void *alpha,
                               const void *a, int atype, int lda, long long stride_a, const void *b, int btype, int ldb,
                               long long stride_b, const void *beta, void *c, int ctype, int ldc, long long stride_c,
                               int count, int compute, int algorithm) {
    (void)algorithm;
    if (!usable(handle)) return NOT_INITIALIZED;
    int ta = is_transposed(transa), tb = is_transposed(transb);
    if (transa < 0 || transa > 2 || transb < 0 || transb > 2 || m < 0 || n < 0 || k < 0 || count < 0)
        return INVALID_VALUE;
    int rows_a = ta ? k : m, rows_b = tb ? n : k;
    if (lda < (rows_a > 1 ? rows_a : 1) || ldb < (rows_b > 1 ? rows_b : 1) || ldc < (m > 1 ? m : 1))
        return INVALID_VALUE;
    if (!alpha || !beta) return INVALID_VALUE;
    if (!takes(atype, btype, ctype, compute)) return NOT_SUPPORTED;
    /* The default mode with TF32 (3) makes COMPUTE_32F of floats a TF32 one. */
    if (compute == COMPUTE_32F && atype == R_32F && (((Handle *)handle)->mode & 15) == 3) compute = FAST_TF32;
    int status = SUCCESS;
    for (int i = 0; i < count && m && n && status == SUCCESS; ++i) {
        int size_a = atype == R_64F ? 8 : atype == R_32F ? 4 : 2, size_c = ctype == R_64F ? 8 : ctype == R_32F ? 4 : 2;
        const char *ai = (const char *)a + i * stride_a * size_a, *bi = (const char *)b + i * stride_b * size_a;
        char *ci = (char *)c + i * stride_c * size_c;
        if (compute == COMPUTE_64F)
            status = product_double(ta, tb, m, n, k, *(const double *)alpha, ai, atype, lda, bi, btype, ldb,
                                    *(const double *)beta, ci, ctype, ldc, compute);
        else
            status = product_float(ta, tb, m, n, k, *(const float *)alpha, ai, atype, lda, bi, btype, ldb,
                                   *(const float *)beta, ci, ctype, ldc, compute);
    }
    return status;
}

int cublasGemmEx(void *handle, int transa, int transb, int m, int n, int k, const void *alpha, const void *a, int atype,
                 int lda, const void *b, int btype, int ldb, const void *beta, void *c, int ctype, int ldc, int compute,
                 int algorithm) {
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, atype, lda, 0, b, btype, ldb, 0, beta,
                                      c, ctype, ldc, 0, 1, compute, algorithm);
}

int cublasSgemm_v2(void *handle, int transa, int transb, int m, int n, int k, const float *alpha, const float *a,
                   int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
    return cublasGemmEx(handle, transa, transb, m, n, k, alpha, a, R_32F, lda, b, R_32F, ldb, beta, c, R_32F, ldc,
                        COMPUTE_32F, -1);
}

int cublasDgemm_v2(void *handle, int transa, int transb, int m, int n, int k, const double *alpha, const double *a,
                   int lda, const double *b, int ldb, const double *beta, double *c, int ldc) {
    return cublasGemmEx(handle, transa, transb, m, n, k, alpha, a, R_64F, lda, b, R_64F, ldb, beta, c, R_64F, ldc,
                        COMPUTE_64F, -1);
}
