"""Every primitive under capture is the tape's, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from replaying import agree, bits, pure, values
from sampling import CASES, NAMES, draw

import chalkgrad as cg
from chalkgrad.proof.cases import LAYOUTS

VARIANTS = [("rows", "float32"), ("rows", "float64"), ("columns", "float32"), ("strided", "float64")]
BACKWARDS = [("reversed", "float64")]
PRIMITIVES = [pytest.param(p, e, id=name) for (p, e), name in zip(CASES, NAMES, strict=True)]


def in_variants(primitive, example, variants):
    def f(*operands, cotangent):
        y = primitive.compute(operands, example.parameters)
        if y.requires_grad:
            y.backward(cotangent)
        return y.detach()

    for layout, dtype in variants:

        def inputs(call, layout=layout, dtype=dtype):
            drawn = [x.astype(dtype) if x.dtype.kind == "f" else x for x in draw(primitive, example, call)]
            y = np.asarray(primitive.kernel(np, *drawn, **example.parameters))
            cotangent = np.asarray(np.random.default_rng(call).standard_normal(y.shape)).astype(y.dtype)
            arranged = [LAYOUTS[layout](x) if x.ndim else x for x in (*drawn, cotangent)]
            return [cg.Tensor(x, x.dtype.kind == "f" and n < len(drawn)) for n, x in enumerate(arranged)]

        agree(pure(lambda *xs: f(*xs[:-1], cotangent=xs[-1])), inputs, calls=4)


@pytest.mark.parametrize(("primitive", "example"), PRIMITIVES)
def test_every_primitive_forward_and_backward(primitive, example):
    in_variants(primitive, example, VARIANTS)


@pytest.mark.parametrize(("primitive", "example"), PRIMITIVES)
def test_every_primitive_on_reversed_arrays(primitive, example):
    in_variants(primitive, example, BACKWARDS)


@pytest.mark.parametrize(("primitive", "example"), [p for p in PRIMITIVES if p.values[0].differentiable])
def test_a_graph_made_while_recording_can_be_walked_afterwards(primitive, example):
    def gradients(function):
        operands = [cg.tensor(x, requires_grad=x.dtype.kind == "f") for x in draw(primitive, example)]
        y = function(*operands)
        y.backward(np.random.default_rng(1).standard_normal(y.shape))
        return bits(operands)

    captured = cg.capture(lambda *operands: primitive.compute(operands, example.parameters))
    for _ in range(2):
        assert gradients(captured) == gradients(lambda *xs: primitive.compute(xs, example.parameters))


AXES = [None, 0, -1, (0, -1)]


@settings(deadline=None, max_examples=60)
@given(array_shapes(min_dims=2, max_dims=4, max_side=9), st.randoms(use_true_random=False), st.integers(0, 3))
def test_reductions_of_any_layout_in_the_same_order(shape, choice, kind):
    order = choice.sample(range(len(shape)), len(shape))
    axis, keepdims = choice.choice(AXES), choice.random() < 0.5

    def laid_out(x):
        x = x.transpose(order)
        return [x, x[..., ::-1], x[::2], np.broadcast_to(x[:1], (5, *x.shape[1:]))][kind]

    def f(x):
        y = x.sum(axis=axis, keepdims=keepdims), x.mean(axis=axis), x.max(axis=axis), x.var(axis=axis), x.softmax()
        return [*y, x.logsumexp(axis=axis), (x * 2).T.sum(axis=axis)]

    agree(pure(f), lambda call: [cg.Tensor(laid_out(values(*shape, seed=call, dtype="float32")))], calls=3)


def test_mean_of_very_many():
    x = np.ones(2**24 + 1, "float32")
    x[:3] = 0.3
    agree(pure(lambda x: x.mean()), lambda call: [cg.Tensor(x)], calls=3)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", ">f8"])
def test_other_dtypes(dtype):
    def f(x):
        y = x.sum(), x.mean(), x.mean(axis=0), x.max(axis=0), x.argmax(axis=1), x * 2, x / 2, (x > 1).sum()
        return *y, (x > 1).mean(), x.astype("float32"), cg.maximum(x, 1), cg.one_hot(x.astype("int64"), classes=4)

    def inputs(call):
        return [cg.Tensor(np.random.default_rng(call).integers(0, 2 if dtype == "bool" else 4, (3, 4)).astype(dtype))]

    agree(pure(f), inputs)
