"""The gradients of whole models, proven by numbers: of all their weights at once, in float64."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import proof
from chalkgrad.models import BERT, GPT, ViT

pytestmark = pytest.mark.cpu_only("gradcheck works on the CPU")
R = np.random.default_rng(4)
IDS, IMAGES = R.integers(0, 7, (2, 5)), R.normal(size=(2, 1, 4, 4))
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LABELS = np.array([[3, -100, 6, 0, 2], [-100, 5, 1, -100, -100]])  # -100: a place that does not count
SMALL = {"width": 6, "depth": 2, "heads": 2, "dropout": 0.0, "seed": 1}
BY_TOKEN = cg.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
MODELS = {
    "gpt": (GPT(vocabulary=7, positions=6, **SMALL), lambda m: m.call(cg.tensor(IDS)), LABELS),
    "bert": (
        BERT(vocabulary=7, positions=6, hidden=8, head="tokens", **SMALL),
        lambda m: m.call(cg.tensor(IDS), attention_mask=cg.tensor(MASK)), LABELS,
    ),
    "vit": (
        ViT(image=4, patch=2, channels=1, classes=3, hidden=8, **SMALL), lambda m: m.call(cg.tensor(IMAGES)),
        np.array([2, 0]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*MODELS])
def test_of_all_weights(kind):
    model, call, labels = MODELS[kind]
    model.begin()
    held = [layer.weights for layer in holders(model)]
    places = [[(own, name) for own in held for name in own if own[name] is w] for w in model.weights]
    shapes = [w.shape for w in model.weights]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    drawn = np.random.default_rng(1).normal(0, 0.4, ends[-1])
    idle = np.concatenate([np.full(w.size, w.name.endswith("key_bias")) for w in model.weights])

    def loss(theta):
        """idle: a key's bias shifts all logits of a row alike, which changes no softmax: its slope is 0, and noise."""
        theta = cg.where(idle, drawn, theta)
        for end, shape, there in zip(ends, shapes, places, strict=True):
            for own, name in there:
                own[name] = theta[end - int(np.prod(shape)) : end].reshape(shape)
        return BY_TOKEN(cg.tensor(labels), call(model))

    proof.assert_gradients(loss, drawn, samples=1)
    assert len(drawn) == model.count_params() > 300
    assert 0 < idle.sum() < 20


def holders(model):
    """The layers of a model, those within others, too."""
    found, rest = [], [*model.layers]
    while rest:
        found.append(rest.pop())
        rest += found[-1]._inner.values()
    return found
