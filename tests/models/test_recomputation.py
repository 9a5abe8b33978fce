"""What blocks compute on the way is computed again in the reverse pass: the same bits by less memory, also replayed."""

import re

import numpy as np
import pytest

from chalkgrad import optim
from chalkgrad.models import BERT, GPT, ViT
from chalkgrad.nn.losses import SparseCategoricalCrossentropy

SIZES = {"width": 12, "depth": 2, "heads": 3, "dropout": 0.1, "seed": 1}
R = np.random.default_rng(0)
IDS, IMAGES = R.integers(0, 11, (12, 9)), R.normal(size=(12, 3, 8, 8)).astype("float32")
MODELS = {
    "gpt": (GPT, {"vocabulary": 11, "positions": 9}, IDS, IDS),
    "bert": (BERT, {"vocabulary": 11, "positions": 9, "hidden": 20, "head": "tokens"}, IDS, IDS),
    "vit": (ViT, {"image": 8, "patch": 4, "hidden": 20, "classes": 3}, IMAGES, R.integers(0, 3, 12)),
}


@pytest.mark.parametrize("name", ["gpt", *(pytest.param(name, marks=pytest.mark.deep) for name in ("bert", "vit"))])
def test_the_same_bits_by_less_memory(name):
    kind, sizes, x, y = MODELS[name]
    found, room = [], []
    for recompute, eager in ((False, False), (True, False), (True, True)):
        model = kind(**SIZES, **sizes, recompute=recompute)
        loss = SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optim.AdamW(0.01), loss, run_eagerly=eager)
        model.fit(x, y, batch_size=6, epochs=6, verbose=0)
        found.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        if not eager:
            room.append(
                int(re.search(r"([\d,]+) bytes of buffers", model.recorded["train"].explain())[1].replace(",", ""))
            )
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    assert room[1] < 0.8 * room[0]
    assert kind(**SIZES, **sizes, recompute=True).get_config()["recompute"] is True
