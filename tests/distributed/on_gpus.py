"""A training on the stand-in's GPUs that mpirun starts: `python on_gpus.py [shared | RUN]`; each rank has its own.

RUN: train by the command, into this folder, and go on with it.
"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "standin"))
import cupy
import numpy as np

import chalkgrad as cg
from chalkgrad.cli import cli
from chalkgrad.distributed import world
from chalkgrad.engine import backend
from chalkgrad.nn import Sequential, layers

backend.load_cublas = functools.cache(cupy.standin_cublas)


def trained(device, distributed):
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((39, 6)), draw.integers(0, 3, 39)
    parts = [layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(3, "softmax")]
    model = Sequential(parts, seed=1, dtype="float64", device=device)
    model.compile(cg.optim.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x, y, batch_size=16, epochs=4, seed=3, verbose=0, distributed=distributed
    ).history  # fmt: skip
    return np.concatenate([np.ravel(w) for w in model.get_weights()]), np.array([*history.values()])


if __name__ == "__main__":
    group = world()
    if sys.argv[1:] not in ([], ["shared"]):
        for told in (["digits", "--epochs", "1", "--device", "gpu", "--out"], ["--epochs", "2", "--resume"]):
            cli(["train", "--verbose", "0", *told, sys.argv[1]], standalone_mode=False)
            assert group.cards.device == f"gpu:{group.rank}"
        sys.exit()
    weights, history = trained("gpu:0" if "shared" in sys.argv else "gpu", True)
    assert len({*group.gathered(weights.tobytes())}) == 1, "the replicas differ"
    one = trained("cpu", False)
    assert abs(weights - one[0]).max() < 1e-10
    assert abs(history - one[1]).max() < 1e-10
    if group.leads:
        print("sums", group.cards._ranks.sums, "calls", group.cards._ranks.calls)
