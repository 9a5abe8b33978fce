"""Linear systems, determinants, norms and decompositions of matrices, in the last two axes: NumPy's `linalg`.

Rules: Giles 2008, "An extended collection of matrix derivative results for forward and reverse mode algorithmic
differentiation"; Golub & Pereyra 1973 for the pseudo-inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from inspect import isfunction
from typing import Any

import numpy

from ..engine.backend import REFUSED, library_of
from ..engine.capturing import capturing
from ..engine.namespace import namespace
from ..engine.primitive import example, primitive
from ..errors import DataError, ShapeError, UsageError
from .arithmetic import absolute, multiply
from .arrangement import matrix_transpose, moveaxis
from .composed import axis_of, composed, floating, given, in_float64
from .contraction import cross, outer, tensordot, vecdot
from .creation import identity_like
from .linalg import matmul
from .reduction import max, min, sum
from .shapes import expand_dims, reshape, squeeze, swap_last

SQUARE = (example((3, 3)), example((2, 2, 2)))


def _draws(made: Callable[..., Any]) -> Callable[..., Any]:
    """What draws operands of a shape: random ones, made such as the equation takes them."""
    return lambda rng, shape: made(rng.uniform(-1, 1, shape), numpy.eye(*shape[-2:]))


_regular = _draws(lambda x, one: x + 3 * one)
_definite = _draws(lambda x, one: x @ numpy.swapaxes(x, -1, -2) + one)
_near_one = _draws(lambda x, one: x / 2 + 2 * one)
_apart = _draws(lambda x, one: x + 4 * one * numpy.arange(1.0, one.shape[1] + 1))


def _listed(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A function of the library and an array that gives one array of several: a recorded step lists it as one call."""

    def called(a):
        capture = capturing()
        return capture.call("linalg.svd", plain, (a,)) if capture else plain(a)

    def plain(a):
        return function(library_of(a), a)

    return called


def linear_algebra(function: Any) -> Any:
    """Declare a function of NumPy's `linalg`: a primitive, or composed of some."""
    function = in_float64(function) if isfunction(function) else function
    setattr(namespace.linalg, function.__name__, function)
    if function.__name__ not in vars(namespace):
        setattr(namespace, function.__name__, function)
        composed[function.__name__] = function
    return function


def _square(function, a):
    """The array; raises ShapeError where it is not of square matrices."""
    a = given(a)
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{function} takes square matrices, not shape {tuple(a.shape)}.")
    return a


def _solve_arguments(a, b):
    a, b = given(a, b if hasattr(b, "dtype") else None), given(b, a if hasattr(a, "dtype") else None)
    return ((a, b), {}) if len(b.shape) > 1 else ((a, reshape(b, (-1, 1))), {}, lambda y: squeeze(y, -1))


@linear_algebra
@primitive(
    "y = solve(a, b)", saves=("a", "y"), domain={"a": _regular}, analytic=True, bind=_solve_arguments,
    examples=(example((3, 3), (3, 2)), example((2, 2, 2), (2, 1))),
)  # fmt: skip
def solve(xp, a, b):
    """The y for which a y = b. a: square matrices, (…, n, n); b: a vector, or matrices (…, n, k)."""
    return xp.linalg.solve(a, b)


@solve.vjp("a", "s = solve(transposed(a), gy); ga[..., i, j] = -sum(s[..., i, k] * y[..., j, k], k)")
def _(xp, gy, a, y):
    return -xp.matmul(xp.linalg.solve(swap_last(xp, a), gy), swap_last(xp, y))


@solve.vjp("b", "gb = solve(transposed(a), gy)")
def _(xp, gy, a):
    return xp.linalg.solve(swap_last(xp, a), gy)


@linear_algebra
def inv(a):
    """The inverse of each matrix."""
    a = _square("inv", a)
    return solve(a, identity_like(a, size=a.shape[-1]))


def _inverse(xp, a):
    """a⁻¹ᵀ, for the rules of determinants."""
    try:
        return swap_last(xp, xp.linalg.inv(a))
    except REFUSED as error:
        raise DataError(f"a determinant has its gradient by the inverse, and the matrix has none: {error}") from error


@linear_algebra
@primitive("y = det(a)", saves=("a", "y"), domain={"a": _regular}, analytic=True, examples=SQUARE)
def det(xp, a):
    """The determinant of each matrix. Its gradient at a singular one is refused: it is taken by the inverse."""
    return xp.linalg.det(a)


@det.vjp("a", "c = inverse(a); ga[..., i, j] = gy[...] * y[...] * c[..., j, i]")
def _(xp, gy, a, y):
    return xp.expand_dims(gy * y, (-2, -1)) * _inverse(xp, a)


@primitive(
    "d = det(a); y[...] = log(abs(d[...]))", saves=("a",), domain={"a": _regular}, analytic=False, examples=SQUARE
)
def logabsdet(xp, a):
    """The logarithm of the size of each matrix's determinant, which may itself be beyond all numbers."""
    return _log_of_size(a)


_log_of_size = _listed(lambda xp, a: xp.linalg.slogdet(a)[1])


@logabsdet.vjp("a", "c = inverse(a); ga[..., i, j] = gy[...] * c[..., j, i]")
def _(xp, gy, a):
    return xp.expand_dims(gy, (-2, -1)) * _inverse(xp, a)


@primitive("d = det(a); y[...] = sign(d[...])", domain={"a": _regular}, examples=SQUARE)
def signdet(xp, a):
    """The sign of each matrix's determinant: constant, so no gradient passes."""
    return _sign(a)


_sign = _listed(lambda xp, a: xp.linalg.slogdet(a)[0])


@linear_algebra
def slogdet(a):
    """The sign of each determinant, and the logarithm of its size."""
    return signdet(a), logabsdet(a)


@linear_algebra
@primitive("y = cholesky(a)", saves=("y",), domain={"a": _definite}, examples=SQUARE)
def cholesky(xp, a):
    """The lower triangle y for which y yᵀ = a. a: symmetric and positive definite; of others the symmetric part."""
    return xp.linalg.cholesky((a + swap_last(xp, a)) / 2)


@cholesky.vjp(
    "a",
    "c = inverse(y); "
    "p[..., i, j] = sum(y[..., k, i] * gy[..., k, j], k) * (1 if i > j else 0.5 if i == j else 0); "
    "q[..., k, j] = sum(p[..., k, i] * c[..., i, j], i); h[..., i, j] = sum(c[..., k, i] * q[..., k, j], k); "
    "ga[..., i, j] = (h[..., i, j] + h[..., j, i]) / 2",
)
def _(xp, gy, y):
    upper = swap_last(xp, y)
    p = xp.tril(xp.matmul(upper, gy))
    p = (p + xp.tril(p, -1)) / 2
    h = xp.linalg.solve(upper, swap_last(xp, xp.linalg.solve(upper, swap_last(xp, p))))
    return (h + swap_last(xp, h)) / 2


@linear_algebra
@primitive("y = pinv(a)", saves=("a", "y"), domain={"a": _near_one}, examples=(example((3, 2)), example((2, 2, 3))))
def pinv(xp, a):
    """The pseudo-inverse of each matrix. Its gradient is that of matrices of the same rank (Golub & Pereyra 1973)."""
    return xp.linalg.pinv(a)


@pinv.vjp(
    "a",
    "t = transposed(y); g = transposed(gy); w = dot(dot(g, y), t); z = dot(dot(t, y), g); "
    "ga = w - dot(dot(a, y), w) + z - dot(z, dot(y, a)) - dot(dot(t, gy), t)",
)
def _(xp, gy, a, y):
    t, g = swap_last(xp, y), swap_last(xp, gy)
    w, z = xp.matmul(xp.matmul(g, y), t), xp.matmul(xp.matmul(t, y), g)
    apart = w - xp.matmul(a, xp.matmul(y, w)) + z - xp.matmul(xp.matmul(z, y), a)
    return apart - xp.matmul(xp.matmul(t, gy), t)


@primitive("y = eigh(a)", saves=("y",), domain={"a": _apart}, examples=SQUARE)
def eigenvectors(xp, a):
    """Eigenvalues in ascending order, in the first row, and below them the eigenvectors, as columns.

    a: symmetric matrices; of others the symmetric part. Raises DataError in the reverse pass on the CPU where two
    eigenvalues are equal, since eigenvectors have no derivative there.
    """
    return _eigh((a + swap_last(xp, a)) / 2)


@_listed
def _eigh(xp, a):
    values, vectors = xp.linalg.eigh(a)
    return xp.concatenate([values[..., None, :], vectors], -2)


@eigenvectors.vjp(
    "a",
    "f[..., k, m] = gy[..., 0, k] if k == m else "
    "sum(y[..., 1 + i, k] * gy[..., 1 + i, m], i) / (y[..., 0, m] - y[..., 0, k]); "
    "h[..., i, j] = sum(sum(y[..., 1 + i, k] * f[..., k, m], k) * y[..., 1 + j, m], m); "
    "ga[..., i, j] = (h[..., i, j] + h[..., j, i]) / 2",
)
def _(xp, gy, y):
    values, v, one = y[..., 0, :], y[..., 1:, :], identity_like.apply(xp, y, size=y.shape[-1])
    f = _over_distances(xp, xp.matmul(swap_last(xp, v), gy[..., 1:, :]), values, one)
    h = xp.matmul(xp.matmul(v, f + xp.expand_dims(gy[..., 0, :], -1) * one), swap_last(xp, v))
    return (h + swap_last(xp, h)) / 2


def _over_distances(xp, m, values, one):
    """m[k, l] / (values[l] - values[k]), 0 on the diagonal; not a number where two are equal and m is not 0."""
    m, distance = m * (1 - one), xp.expand_dims(values, -2) - xp.expand_dims(values, -1)
    return xp.where(distance == 0, xp.where(m == 0, m, math.nan), m / xp.where(distance == 0, 1.0, distance))


@linear_algebra
def eigh(a):
    """Eigenvalues of symmetric matrices in ascending order, and eigenvectors as columns.

    Where two eigenvalues are equal, the gradient of what uses the eigenvectors is not a number; that of what uses the
    values alone is theirs one by one.
    """
    y = eigenvectors(_square("eigh", a))
    return y[..., 0, :], y[..., 1:, :]


@linear_algebra
def eigvalsh(a):
    """Eigenvalues of symmetric matrices in ascending order."""
    return eigh(a)[0]


@primitive("y = svd(a)", saves=("a", "y"), domain={"a": _apart}, examples=(example((3, 2)), example((2, 2, 3))))
def singular_vectors(xp, a):
    """Left singular vectors as columns, below them the singular values in a row, and the right vectors as columns."""
    return _svd(a)


@_listed
def _svd(xp, a):
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    return xp.concatenate([u, s[..., None, :], xp.swapaxes(vt, -1, -2)], -2)


@singular_vectors.vjp(
    "a",
    "s[..., k] = y[..., a.shape[-2], k]; "
    "p[..., k, m] = 0 if k == m else sum(y[..., i + 0, k] * gy[..., i + 0, m], i) / (s[..., m]**2 - s[..., k]**2); "
    "q[..., k, m] = 0 if k == m else sum(y[..., a.shape[-2] + 1 + j, k] * gy[..., a.shape[-2] + 1 + j, m], j) "
    "/ (s[..., m]**2 - s[..., k]**2); "
    "f[..., k, m] = (p[..., k, m] + p[..., m, k]) * s[..., m] + s[..., k] * (q[..., k, m] + q[..., m, k]) "
    "+ (gy[..., a.shape[-2], k] if k == m else 0); "
    "c[..., i, m] = gy[..., i + 0, m] - sum(y[..., i + 0, k] "
    "* sum(y[..., l + 0, k] * gy[..., l + 0, m], l < a.shape[-2]), k); "
    "d[..., j, m] = gy[..., a.shape[-2] + 1 + j, m] - sum(y[..., a.shape[-2] + 1 + j, k] "
    "* sum(y[..., a.shape[-2] + 1 + r, k] * gy[..., a.shape[-2] + 1 + r, m], r < a.shape[-1]), k); "
    "ga[..., i, j] = sum(sum(y[..., i + 0, k] * f[..., k, m], k) * y[..., a.shape[-2] + 1 + j, m], m) "
    "+ sum(c[..., i, m] / s[..., m] * y[..., a.shape[-2] + 1 + j, m], m) "
    "+ sum(y[..., i + 0, m] * d[..., j, m] / s[..., m], m)",
)
def _(xp, gy, a, y):
    rows, one = a.shape[-2], identity_like.apply(xp, y, size=y.shape[-1])
    (u, s, v), (gu, gs, gv) = ((x[..., :rows, :], x[..., rows, :], x[..., rows + 1 :, :]) for x in (y, gy))
    s_row, s_column = xp.expand_dims(s, -2), xp.expand_dims(s, -1)
    of_u, of_v = (_over_distances(xp, xp.matmul(swap_last(xp, x), gx), s * s, one) for x, gx in ((u, gu), (v, gv)))
    inner = (of_u + swap_last(xp, of_u)) * s_row + s_column * (of_v + swap_last(xp, of_v))
    inner = inner + xp.expand_dims(gs, -1) * one
    beside_u = (gu - xp.matmul(u, xp.matmul(swap_last(xp, u), gu))) / s_row
    beside_v = (gv - xp.matmul(v, xp.matmul(swap_last(xp, v), gv))) / s_row
    within = xp.matmul(xp.matmul(u, inner), swap_last(xp, v))
    return within + xp.matmul(beside_u, swap_last(xp, v)) + xp.matmul(u, swap_last(xp, beside_v))


@linear_algebra
def svd(a, full_matrices=True, compute_uv=True):
    """The singular value decomposition a = U diag(s) Vᵀ: U, s in descending order, and Vᵀ.

    full_matrices: only False where vectors are asked for, but for square matrices, where it is the same. Where two
    singular values are equal, or one is 0, the gradient of what uses the vectors is not a number.
    """
    a = given(a)
    rows = a.shape[-2]
    if compute_uv and full_matrices and rows != a.shape[-1]:
        raise UsageError(
            f"svd of shape {tuple(a.shape)}: the further vectors have no gradient, give full_matrices=False."
        )
    y = singular_vectors(a)
    return (
        (y[..., :rows, :], y[..., rows, :], swap_last(namespace, y[..., rows + 1 :, :]))
        if compute_uv
        else y[..., rows, :]
    )


@linear_algebra
def svdvals(a):
    """Singular values in descending order."""
    return svd(a, compute_uv=False)


# Composed


@linear_algebra
def matrix_power(a, n):
    """The product of n equal matrices; of inverses where n < 0."""
    a = inv(a) if n < 0 else _square("matrix_power", a)
    return reduce(matmul, [a] * abs(n)) if n else multiply(a, 0.0) + identity_like(a, size=a.shape[-1])


@linear_algebra
def multi_dot(arrays):
    """The product of several matrices, in the order that takes the least arithmetic."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    arrays = [given(a) for a in arrays]
    first, last = len(arrays[0].shape) == 1, len(arrays[-1].shape) == 1
    terms = [letters[i : i + 2] for i in range(len(arrays))]
    terms[0], terms[-1] = terms[0][first:], terms[-1][: 2 - last]
    ends = letters[0] * (not first) + letters[len(arrays)] * (not last)
    return namespace.einsum(f"{','.join(terms)}->{ends}", *arrays)


@linear_algebra
def norm(x, ord=None, axis=None, keepdims=False):
    """The length of vectors (any `ord`), or the norm of matrices: Frobenius, nuclear, 1, 2, ∞ and their negatives.

    At 0 the gradient of the length is not a number: it has none there.
    """
    x = given(x)
    axes = range(len(x.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = tuple(axis_of(i, len(x.shape)) for i in axes)
    if len(axes) == 1 or ord is None or (ord == "fro" and len(axes) == 2):
        ord = 2 if ord is None or len(axes) == 2 else ord
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise UsageError(f"norm(ord={ord!r}) is of vectors or matrices: name one axis, or two.")
    y = _matrix_norm(moveaxis(x, axes, (-2, -1)), ord)
    return expand_dims(y, axis=tuple(sorted(axes))) if keepdims else y


def _vector_norm(x, ord, axes, keepdims):
    x = floating(x)
    if ord == 2:
        return namespace.sqrt(sum(multiply(x, x), axes, keepdims))
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(absolute(x), axes, keepdims)
    if ord == 0:
        return sum(x != 0, axes, keepdims).astype(x.dtype)
    if not isinstance(ord, (int, float)):
        raise UsageError(f"norm(ord={ord!r}) of vectors: ord is a number, inf or -inf.")
    return sum(absolute(x) ** ord, axes, keepdims) ** (1 / ord) if ord != 1 else sum(absolute(x), axes, keepdims)


def _matrix_norm(x, ord):
    if ord in (1, -1, math.inf, -math.inf):
        return (max if ord > 0 else min)(sum(absolute(x), -2 if abs(ord) == 1 else -1), -1)
    if ord in (2, -2, "nuc"):
        return (sum if ord == "nuc" else max if ord == 2 else min)(svdvals(x), -1)
    raise UsageError(f"norm(ord={ord!r}) of matrices: ord is 'fro', 'nuc', 1, 2, inf, or one of these negated.")


@linear_algebra
def vector_norm(x, axis=None, keepdims=False, ord=2):
    """The length of vectors: of all elements by default."""
    x = given(x)
    return _vector_norm(x, ord, tuple(range(len(x.shape))) if axis is None else axis, keepdims)


@linear_algebra
def matrix_norm(x, keepdims=False, ord="fro"):
    """The norm of each matrix."""
    return norm(x, ord, (-2, -1), keepdims)


for _function in (cross, matmul, matrix_transpose, outer, tensordot, vecdot):
    setattr(namespace.linalg, _function.__name__, _function)


det.onnx("Det")
logabsdet.onnx(lambda graph, a: graph.add("Log", [graph.add("Abs", [graph.add("Det", [a])])]))
signdet.onnx(lambda graph, a: graph.add("Sign", [graph.add("Det", [a])]))
for _made in (solve, cholesky, pinv, eigenvectors, singular_vectors):
    _made.onnx(None, "of linear algebra ONNX has products and determinants alone")
