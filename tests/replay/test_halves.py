"""A product in halves has the bits of the whole on one thread, and is done so only where that pays."""

import numpy as np
import pytest

from chalkgrad.replay import blas, halves

pytestmark = pytest.mark.skipif(blas.library() is None, reason="NumPy's BLAS cannot be held to one thread")


def arrays(rows, inner, columns, dtype="float32", turned=False):
    draw = np.random.default_rng([rows, columns]).standard_normal
    a = draw((inner, rows)).astype(dtype).T if turned else draw((rows, inner)).astype(dtype)
    return a, draw((inner, columns)).astype(dtype), np.full((rows, columns), 7, dtype)


@pytest.mark.parametrize(("pays", "rests"), [(np.inf, 0), (0, 12)])
@pytest.mark.parametrize("shape", [(128, 784, 128), (784, 128, 128), (300, 200, 150)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_those_of_the_whole_on_one_thread(monkeypatch, shape, dtype, pays, rests):
    monkeypatch.setattr(halves, "PAYS", pays)
    a, b, out = arrays(*shape, dtype, turned=shape[0] > shape[1])
    product = halves.halves(a, b, out)
    with blas.one_thread():
        whole = np.matmul(a, b)
        for _ in range(5):
            out[...] = 7
            product()
            assert out.tobytes() == whole.tobytes()
    assert product.left == (rests if product.parts else 0)


def test_where_blas_is_not_held_it_is_as_numpy_does_it():
    a, b, out = arrays(128, 784, 128)
    product = halves.halves(a, b, out)
    for _ in range(6):
        product()
    assert out.tobytes() == np.matmul(a, b).tobytes()
    assert product.parts is None


def test_small_and_large_products_are_left():
    assert halves.halves(*arrays(10, 10, 10)) is None
    assert halves.halves(*(np.empty((2048, 2048), "float32") for _ in range(3))) is None


def test_what_is_told_of_numbers_is_told_of_both_halves(monkeypatch):
    monkeypatch.setattr(halves, "PAYS", np.inf)
    a, b, out = arrays(128, 784, 128)
    a[:, 0], b[0] = np.inf, 0
    product = halves.halves(a, b, out)
    product.left = 0
    with blas.one_thread(), np.errstate(invalid="ignore"):
        product()
    assert np.isnan(out).all()
