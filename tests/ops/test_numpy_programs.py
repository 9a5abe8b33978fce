"""Programs as they are written for NumPy: with NumPy's names and with ours, differentiated and proven."""

import numpy
import pytest

import chalkgrad as cg
from chalkgrad.proof import gradcheck

pytestmark = pytest.mark.cpu_only("NumPy's functions take arrays of the CPU")

X = numpy.random.default_rng(0).normal(size=(6, 3))


def gaussian_process(np):
    def loss(p):
        apart = np.expand_dims(X / np.exp(p[:3]), 1) - np.expand_dims(X / np.exp(p[:3]), 0)
        kernel = np.exp(-0.5 * np.sum(apart**2, axis=2)) + np.exp(p[3]) * np.eye(6)
        lower = np.linalg.cholesky(kernel)
        white = np.linalg.solve(lower, X[:, 0])
        return 0.5 * np.dot(white, white) + np.sum(np.log(np.diag(lower)))

    return loss


def mixture(np):
    def likelihood(p):
        terms = []
        for mean, weight in zip(np.reshape(p[:6], (2, 3)), p[6:8] - np.log(np.sum(np.exp(p[6:8]))), strict=True):
            spread, distance = np.outer(mean, mean) + 2 * np.eye(3), X - mean
            squares = np.einsum("ij,jk,ik->i", distance, np.linalg.inv(spread), distance)
            terms.append(weight - 0.5 * squares - 0.5 * np.linalg.slogdet(spread)[1])
        return np.sum(np.logaddexp(terms[0], terms[1]))

    return likelihood


def recurrent(np):
    def loss(p):
        h, states = np.zeros(3), []
        for x in X:
            h = np.tanh(np.dot(h, np.reshape(p[:9], (3, 3))) + x * p[9:12])
            states.append(h)
        return np.mean(np.stack(states) ** 2) + np.linalg.norm(np.vstack(states))

    return loss


def components(np):
    def value(p):
        a = np.reshape(p, (4, 3)) - np.mean(np.reshape(p, (4, 3)), 0)
        _, s, v = np.linalg.svd(a, full_matrices=False)
        w, vectors = np.linalg.eigh(np.dot(a.T, a) / 4)
        return np.sum(s[:2]) + np.prod(w[1:]) + np.sum((vectors[:, -1] * v[0]) ** 2)

    return value


@pytest.mark.parametrize(("program", "count"), [(gaussian_process, 4), (mixture, 8), (recurrent, 12), (components, 12)])
def test_a_program_of_numpy(program, count):
    p = numpy.random.default_rng(1).normal(size=count) / 2
    ours, theirs = program(cg.np), program(numpy)
    assert ours(cg.tensor(p)).item() == pytest.approx(theirs(p), rel=1e-12)
    numpy.testing.assert_allclose(cg.grad(theirs)(p), cg.grad(ours)(p), rtol=1e-12)
    assert gradcheck(theirs, p, samples=1).proven
