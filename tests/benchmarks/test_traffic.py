"""Sums by numbers of 16 bits are the sums, rounded, and the same on each rank."""

import numpy as np

from chalkgrad.benchmarks import traffic


class Ranks:
    """Three ranks, gone through one after another: what each sends is kept until all have."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.sent = [self.split(a) for a in arrays]

    @staticmethod
    def split(array):
        parts = np.zeros((3, -(-array.size // 3)), "float16")
        parts.reshape(-1)[: array.size] = array
        return parts

    def of(self, rank):
        owned = [sum(s[n].astype("float32") for s in self.sent).astype("float16") for n in range(3)]

        class One:
            def Get_size(self):
                return 3

            def Alltoall(_, sent, parts):
                parts[...] = np.stack([s[rank] for s in self.sent]).view("uint16")

            def Allgather(_, own, whole):
                np.testing.assert_array_equal(own.view("float16"), owned[rank])
                whole[...] = np.stack(owned).view("uint16")

        return One()


def test_the_sum_of_rounded_numbers():
    draw = np.random.default_rng(0)
    given = [draw.normal(size=10).astype("float32") for _ in range(3)]
    ranks, found = Ranks([x.copy() for x in given]), [x.copy() for x in given]
    for rank, array in enumerate(found):
        traffic.as_halves(ranks.of(rank), array)
    assert (found[0] == found[1]).all()
    assert (found[1] == found[2]).all()
    np.testing.assert_allclose(found[0], sum(given), rtol=3e-3, atol=3e-3)
