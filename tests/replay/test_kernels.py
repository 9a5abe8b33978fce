"""Kernels of one's own under capture."""

import numpy as np
import pytest
from replaying import CALLS, agree, one, pure

import chalkgrad as cg


def of_kernel(declare, kernel, calls=CALLS):
    made = declare("y = x")(kernel)
    return agree(pure(lambda x: made(x)), one(5, dtype="float32"), calls=calls, replayed=None)


def filled(xp, x):
    return xp.full(x.shape, xp.max(x)) * 1.0


def copyto(xp, x):
    y = xp.zeros(x.shape)
    xp.copyto(y, x)
    return y


def positional_out(xp, x):
    y = xp.zeros(x.shape)
    xp.add(y, x, y)
    return y


def put(xp, x):
    y = xp.zeros(x.shape)
    xp.put_along_axis(y, xp.argsort(x), x, 0)
    return y


def sorted_copy(xp, x):
    y = x.copy()
    y.sort()
    return y


def reduce(xp, x):
    return xp.add.reduce(x) * x


def ldexp(xp, x):
    return xp.ldexp(x, 2)


def cubed_mean(xp, x):
    return abs(x.mean()) ** 3 + abs(x.sum()) ** 1.5 + abs(x.max()) ** -1


@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(filled),
        pytest.param(copyto),
        pytest.param(put),
        pytest.param(positional_out),
        pytest.param(sorted_copy),
        pytest.param(reduce),
        pytest.param(ldexp),
        pytest.param(cubed_mean),
    ],
)
def test_a_kernel_of_ones_own(declare, kernel):
    of_kernel(declare, kernel, calls=60)


def where_and_out(xp, x):
    return xp.add(x, 1.0, where=x > 0, out=xp.zeros(x.shape, x.dtype))


def several(xp, x):
    return xp.where(x > 0)[0] * 1.0


def unique(xp, x):
    return xp.unique(xp.round(x))


def in_place(xp, x):
    y = x.copy()
    y += 1
    y *= x
    y[1:] -= 2
    return y


def inverse(xp, x):
    return xp.linalg.inv(xp.outer(x, x) + xp.eye(len(x)))


@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(where_and_out, marks=pytest.mark.cpu_only("CuPy's functions of elements take no `where`")),
        several,
        unique,
        in_place,
        pytest.param(inverse, marks=pytest.mark.cpu_only("cupy.linalg takes no arrays that are being recorded")),
    ],
)
def test_another_kernel_of_ones_own(declare, kernel):
    of_kernel(declare, kernel)


def test_errstate_inside():
    zeros = cg.tensor(np.zeros(3))

    def f(x):
        with np.errstate(all="ignore"):
            return x / zeros

    agree(pure(f), one(3), replayed=False)
