"""Products of matrices and tensors, and the affine map of a layer (D1)."""

from __future__ import annotations

import math

from ..engine.primitive import example, primitive
from ..errors import ShapeError, UsageError, unknown_name
from ..replay import calls
from . import factors, products
from .creation import identity_like
from .shapes import swap_last


@primitive(
    "y[..., i, k] = sum(a[..., i, j] * b[..., j, k], j)",
    saves=("a", "b", "a.shape", "b.shape"),
    analytic=True,
    operators=("__matmul__", "__rmatmul__"),
    examples=(
        example((2, 3), (3, 4)),
        example((5, 2, 3), (3, 4)),
        example((5, 1, 2, 3), (4, 3, 2)),
        example((3,), (3, 4)),
        example((5, 2, 3), (3,)),
        example((3,), (3,)),
    ),
)
def matmul(xp, a, b):
    """Matrix product over the last two axes; the others broadcast, and a single axis is a vector, as NumPy has it."""
    return factors.rows_by_matrix(xp, a, b)


matmul.onnx("MatMul")


@matmul.check
def _(a, b):
    if not (getattr(a, "shape", ()) and getattr(b, "shape", ())):
        raise ShapeError("matmul takes no single numbers: multiply with * instead.")
    if a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
        raise ShapeError(
            f"matmul cannot take a of shape {a.shape} and b of shape {b.shape}: a's last axis ({a.shape[-1]}) must be "
            f"as long as b's {'last but one' if len(b.shape) > 1 else 'only one'} ({b.shape[-2:][0]})."
        )


@matmul.vjp("a", "ga[..., i, j] = sum(gy[..., i, k] * b[..., j, k], k)")
def _(xp, gy, b, a_shape, b_shape):
    matrix = b if len(b_shape) > 1 else xp.expand_dims(b, -1)
    return factors.rows_by_matrix(xp, _as_matrix(xp, gy, a_shape, b_shape), swap_last(xp, matrix))


@matmul.vjp("b", "gb[..., j, k] = sum(a[..., i, j] * gy[..., i, k], i)")
def _(xp, gy, a, a_shape, b_shape):
    if len(a_shape) > 2 and len(b_shape) == 2:
        return _outer(xp, a, gy, "float32")
    matrix = a if len(a_shape) > 1 else xp.expand_dims(a, 0)
    product = xp.matmul(swap_last(xp, matrix), _as_matrix(xp, gy, a_shape, b_shape))
    return product if len(b_shape) > 1 else xp.squeeze(product, axis=-1)


def _as_matrix(xp, gy, a_shape, b_shape):
    """gy with the axes that a vector operand left out."""
    if len(b_shape) == 1:
        gy = xp.expand_dims(gy, -1)
    return xp.expand_dims(gy, -2) if len(a_shape) == 1 else gy


def _explicit(subscripts, shapes):
    """The subscripts with `->` and without `…`: a list for the operands, and the result's."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise ShapeError(f"einsum {subscripts!r} names {len(terms)} operands, got {len(shapes)}.")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts]
    most = max((len(s) - len(t) + 3 for t, s in zip(terms, shapes, strict=True) if "..." in t), default=0)
    dots = "".join(free[:most])
    if not arrow:
        letters = sorted({c for c in inputs if c.isalpha() and inputs.count(c) == 1})
        output = "..." * ("..." in inputs) + "".join(letters)
    for n, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        if "..." in term:
            terms[n] = term.replace("...", dots[most - (len(shape) - len(term) + 3) :])
        if len(terms[n]) != len(shape):
            raise ShapeError(f"einsum {subscripts!r}: operand {n} has shape {shape}, its subscripts are {term!r}.")
    return terms, output.replace("...", dots)


def _einsum_arguments(subscripts, *xs):
    if not isinstance(subscripts, str):
        raise UsageError(
            f"einsum takes indices such as 'ij,jk->ik', and then the arrays, not {subscripts!r:.80} first."
        )
    return xs, {"subscripts": subscripts}


@primitive(
    "y = einsum(subscripts, xs)",
    saves=("xs", "xs.shape"),
    analytic=True,
    examples=(
        example((2, 3), (3, 4), subscripts="ij,jk->ik"),
        example((2, 3), (3,), subscripts="ij,j"),
        example((2, 3), subscripts="ij->j"),
        example((3, 3), subscripts="ii->"),
        example((3, 3), (3,), subscripts="ii,i->i"),
        example((2, 1, 3), (4, 3), (2,), subscripts="i...k,...k,i->..."),
    ),
    bind=_einsum_arguments,
)
def einsum(xp, *xs, subscripts):
    """Einstein summation: products of operands, summed over the letters that the result does not name."""
    return xp.einsum(subscripts, *xs, **({} if len(xs) < 3 else {"optimize": True}))


einsum.onnx(lambda graph, *xs, subscripts: graph.add("Einsum", graph.alike(xs), equation=subscripts))


@einsum.check
def _(*xs, subscripts):
    _explicit(subscripts, [x.shape for x in xs])


@einsum.vjp("xs", "gxs = einsum(subscripts, gy, xs)")
def _(xp, gy, xs, xs_shape, subscripts, position):
    terms, output = _explicit(subscripts, xs_shape)
    own, others = terms[position], [t for n, t in enumerate(terms) if n != position]
    operands, inputs = [gy, *(x for n, x in enumerate(xs) if n != position)], [output, *others]
    target = ""
    for letter in own:
        if letter in target:  # a diagonal: the second axis gets a letter of its own, tied to the first by a delta
            fresh = next(c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in "".join((*terms, *inputs, target)))
            size = xs_shape[position][own.index(letter)]
            operands.append(identity_like.apply(xp, gy, size=size))
            inputs.append(letter + fresh)
            target += fresh
        else:
            target += letter
    known = "".join(inputs)
    result = xp.einsum(f"{','.join(inputs)}->{''.join(c for c in target if c in known)}", *operands)
    alone = tuple(i for i, c in enumerate(target) if c not in known)
    result = xp.expand_dims(result, alone) if alone else result
    shape = tuple(n if m == 1 else m for m, n in zip(result.shape, xs_shape[position], strict=True))
    return xp.broadcast_to(result, shape) if shape != result.shape else result  # summed alone, or beside a length of 1


AFFINE = (example((5, 3), (3, 4), (4,)), example((2, 5, 3), (3, 4), (4,)), example((3,), (3, 4), (4,)))


def _check_affine(a, w, b, precision):
    if precision not in factors.PRECISIONS:
        raise unknown_name("precision", precision, factors.PRECISIONS)
    if len(w.shape) != 2 or not a.shape or a.shape[-1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ShapeError(
            f"affine cannot take a of shape {a.shape}, w of shape {w.shape} and b of shape {b.shape}: "
            "a is (…, inputs), w is (inputs, units), b is (units,)."
        )


@primitive(
    "z[..., k] = sum(a[..., j] * w[j, k], j) + b[k]", saves=("a", "w"), analytic=True, whole=False, examples=AFFINE
)
def affine(xp, a, w, b, *, precision="float32"):
    """The affine map of a layer, A W + b (D1, D8, D9, a batch as rows); its rules are those of D11-D16.

    a: (…, inputs), w: (inputs, units), b: (units,).

    precision: what float32 factors are rounded to before they are multiplied, forward and backward, while sums stay
    float32: "tf32", "float16" or "bfloat16", for which a GPU has faster units; "float32" leaves them as they are.
    """
    return _product(xp, a, w, precision) + b


@affine.onnx
def _(graph, a, w, b, *, precision):
    return graph.add("Add", [graph.add("MatMul", [a, w]), b])


@affine.vjp("a", "ga[..., j] = sum(gz[..., k] * w[j, k], k)")
def _(xp, gz, w, precision):
    return _product(xp, gz, w, precision, turned=True)


@affine.vjp("w", "gw[j, k] = sum(a[..., j] * gz[..., k], ...)")
def _(xp, gz, a, precision):
    return _outer(xp, a, gz, precision)


@affine.vjp("b", "gb[k] = sum(gz[..., k], ...)")
def _(xp, gz):
    return _rows(xp, gz)


@affine.cuda(suits=products.suits)
def _(gpu, a, w, b, *, precision, out=None):
    return products.affine(gpu, a, w, b, out)


@affine.cuda("a", suits=lambda gz, w, precision: products.suits(gz, w.T, precision=precision))
def _(gpu, gz, w, precision, out=None):
    return products.backward(gpu, gz, w, out)


@affine.cuda("w", suits=lambda gz, a, precision: products.suit_outer(gz, a, precision=precision))
def _(gpu, gz, a, precision, out=None, sums=None):
    return products.outer(gpu, gz, a, out, sums=sums)


@affine.cuda("b", suits=products.suit_sums)
def _(gpu, gz, out=None):
    return products.sums(gpu, gz, out)


@primitive(
    "z[..., k] = sum(a[..., j] * w[j, k], j) + b[k]; y[..., k] = max(z[..., k], 0)",
    saves=("a", "w", "y"),
    kink="z",
    whole=False,
    examples=AFFINE,
)
def affine_relu(xp, a, w, b, *, precision="float32"):
    """A layer with ReLU in one step, max(A W + b, 0): `affine`, then `relu` (D1, D8, D9)."""
    z = _product(xp, a, w, precision) + b
    return xp.maximum(z, 0, out=z)


@affine_relu.onnx
def _(graph, a, w, b, *, precision):
    return graph.add("Relu", [graph.add("Add", [graph.add("MatMul", [a, w]), b])])


affine.check(_check_affine)
affine_relu.check(_check_affine)


@affine_relu.vjp("a", "ga[..., j] = sum(gy[..., k] * w[j, k] if y[..., k] > 0 else 0, k)")
def _(xp, gy, w, y, precision):
    passed = factors.what_passes(xp, gy, y, w, precision)
    if passed is None:
        return _product(xp, _passed(xp, gy, y), w, precision, turned=True)
    w = xp.transpose(factors.factor(xp, w, precision))
    return factors.multiplied(xp, xp.reshape(passed[0], gy.shape), w, precision)


@affine_relu.vjp("w", "gw[j, k] = sum(a[..., j] * gy[..., k] if y[..., k] > 0 else 0, ...)")
def _(xp, gy, a, y, precision):
    passed = factors.what_passes(xp, gy, y, a, precision)
    if passed is None:
        return _outer(xp, a, _passed(xp, gy, y), precision)
    rows = xp.reshape(factors.factor(xp, a, precision), (-1, a.shape[-1]))
    return factors.multiplied(xp, xp.transpose(rows), passed[0], precision)


@affine_relu.vjp("b", "gb[k] = sum(gy[..., k] if y[..., k] > 0 else 0, ...)")
def _(xp, gy, y, precision):
    passed = factors.what_passes(xp, gy, y, y, precision)
    return _rows(xp, _passed(xp, gy, y)) if passed is None else passed[1]


@affine_relu.cuda(suits=products.suits)
def _(gpu, a, w, b, *, precision, out=None):
    return products.affine(gpu, a, w, b, out, relu=True)


@affine_relu.cuda("a", suits=lambda gy, w, y, precision: products.suits(gy, w.T, y, precision=precision))
def _(gpu, gy, w, y, precision, out=None):
    return products.backward(gpu, gy, w, out, passes=y)


@affine_relu.cuda("w", suits=lambda gy, a, y, precision: products.suit_outer(gy, a, y, precision=precision))
def _(gpu, gy, a, y, precision, out=None, sums=None):
    return products.outer(gpu, gy, a, out, passes=y, sums=sums)


@affine_relu.cuda("b", suits=lambda gy, y, precision: precision == "float32" and products.suit_sums(gy, y))
def _(gpu, gy, y, precision, out=None):
    return products.sums(gpu, gy, out, passes=y)


for _primitive in (affine, affine_relu):
    for _operand in ("", "a", "w"):
        _primitive.cuda_kernels[_operand].joins = True
calls.BESIDE["affine_b"] = {"affine_w": ("sums", (0,), products.are_few)}
calls.BESIDE["affine_relu_b"] = {"affine_relu_w": ("sums", (0, 2, 3), products.are_few)}


def _passed(xp, gy, y):
    return gy * (y > 0)


def _outer(xp, a, gz, precision):
    """Σ over the batch of a outer gz."""
    count = math.prod(a.shape[:-1])
    a, gz = factors.factors(xp, a, gz, precision)
    rows = xp.reshape(a, (count, a.shape[-1])), xp.reshape(gz, (count, gz.shape[-1]))
    return factors.multiplied(xp, xp.transpose(rows[0]), rows[1], precision)


def _product(xp, a, b, precision, turned=False):
    """The product of factors that are rounded first; turned: with b transposed."""
    a, b = factors.factors(xp, a, b, precision)
    return factors.multiplied(xp, a, xp.transpose(b) if turned else b, precision)


def _rows(xp, gz):
    return xp.sum(gz, axis=tuple(range(len(gz.shape) - 1)))
