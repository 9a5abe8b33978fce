"""Matrices of dual numbers at 50 digits, by the textbook's algorithms: their derivatives follow step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from .dual import lift, load_mpmath

Exact = Any
"""An array of dual numbers (NumPy, dtype object)."""


def each(of_one: Callable[..., Exact]) -> Callable[..., Exact]:
    """A function of matrices as one of arrays of them, in their last two axes; the other axes broadcast."""

    def of_all(*arrays: Exact) -> Exact:
        batch = numpy.broadcast_shapes(*(x.shape[:-2] for x in arrays))
        spread = [numpy.broadcast_to(x, (*batch, *x.shape[-2:])) for x in arrays]
        found = {index: _array(of_one(*(x[index] for x in spread))) for index in numpy.ndindex(*batch)}
        result = numpy.empty((*batch, *next(iter(found.values())).shape), dtype=object)
        for index, value in found.items():
            result[index] = value if value.shape else value[()]
        return result

    return of_all


def _array(value: Any) -> Exact:
    made = numpy.empty(numpy.shape(value), dtype=object)
    made[...] = value
    return made


def _identity(n: int) -> Exact:
    return _array([[lift(int(i == j)) for j in range(n)] for i in range(n)])


def _eliminated(a: Exact, b: Exact) -> tuple[Exact, Any]:
    """a⁻¹ b by Gauss and Jordan with pivots, and a's determinant."""
    a, b, det = a.copy(), b.copy(), lift(1)
    for k in range(len(a)):
        pivot = max(range(k, len(a)), key=lambda i: abs(a[i, k].value))
        if pivot != k:
            a[[k, pivot]], b[[k, pivot]], det = a[[pivot, k]], b[[pivot, k]], -det
        det = det * a[k, k]
        scale = 1 / a[k, k]
        a[k], b[k] = a[k] * scale, b[k] * scale
        for i in range(len(a)):
            if i != k:
                b[i], a[i] = b[i] - b[k] * a[i, k], a[i] - a[k] * a[i, k]
    return b, det


def _cholesky(a: Exact) -> Exact:
    """The lower triangle whose product with its transpose is the symmetric part of a."""
    a, result = (a + a.T) / 2, _array(numpy.full(a.shape, lift(0)))
    for j in range(len(a)):
        for i in range(j, len(a)):
            rest = a[i, j] - sum((result[i, k] * result[j, k] for k in range(j)), start=lift(0))
            result[i, j] = rest ** (load_mpmath().one / 2) if i == j else rest / result[j, j]
    return result


def inverse(a: Exact) -> Exact:
    """a⁻¹ of one matrix."""
    return _eliminated(a, _identity(len(a)))[0]


def _pinv(a: Exact) -> Exact:
    """The pseudo-inverse of a matrix of full rank."""
    return inverse(a.T @ a) @ a.T if a.shape[0] >= a.shape[1] else a.T @ inverse(a @ a.T)


def _rotated(a: Exact) -> tuple[list[Any], Exact]:
    """Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations, in ascending order."""
    a, v, half = a.copy(), _identity(len(a)), load_mpmath().one / 2
    for _ in range(12):  # each sweep doubles the digits, also of the derivatives
        for p in range(len(a)):
            for q in range(p + 1, len(a)):
                apart = (a[q, q] - a[p, p]) / 2
                if not a[p, q].value and not a[p, q].slopes:
                    continue
                root = (apart * apart + a[p, q] * a[p, q]) ** half
                t = a[p, q] / (apart + root if apart.value >= 0 else apart - root)
                c = 1 / (t * t + 1) ** half
                turn = _identity(len(a))
                turn[p, p], turn[q, q], turn[p, q], turn[q, p] = c, c, t * c, -(t * c)
                a, v = turn.T @ a @ turn, v @ turn
    order = sorted(range(len(a)), key=lambda i: a[i, i].value)
    return [a[i, i] for i in order], v[:, order]


def _floats(a: Exact) -> Any:
    return numpy.vectorize(lambda d: float(d.value), otypes=[float])(a)


def _signed(vectors: Exact, like: Any) -> Exact:
    """Columns with the signs that LAPACK gives them: either is right."""
    return _array(vectors * numpy.sign((_floats(vectors) * like).sum(0)).astype(int))


def _eigh(a: Exact) -> Exact:
    """Eigenvalues in the first row, then the eigenvectors as columns."""
    a = (a + a.T) / 2
    values, vectors = _rotated(a)
    return _array([values, *_signed(vectors, numpy.linalg.eigh(_floats(a))[1])])


def _svd(a: Exact) -> Exact:
    """Left singular vectors as columns, the singular values in one row, then the right vectors as columns."""
    k = min(a.shape)
    squares, v = _rotated(a.T @ a)
    s = _array([x ** (load_mpmath().one / 2) for x in squares[::-1][:k]])
    v = _signed(v[:, ::-1][:, :k], numpy.linalg.svd(_floats(a))[2][:k].T)
    return _array([*((a @ v) / s), s, *v])


MATRICES: dict[str, Callable[..., Any]] = {
    "cholesky": each(_cholesky),
    "det": each(lambda a: _eliminated(a, a)[1]),
    "dot": each(lambda a, b: a @ b),
    "eigh": each(_eigh),
    "inverse": each(inverse),
    "pinv": each(_pinv),
    "solve": each(lambda a, b: _eliminated(a, b)[0]),
    "svd": each(_svd),
    "transposed": lambda a: numpy.swapaxes(a, -1, -2),
}
"""Functions of matrices, in the last two axes of arrays."""
