"""MultiHeadAttention beside Keras's with the same weights; masks, dropout, and what it refuses."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ShapeError, UsageError

R = np.random.default_rng(0)
X, Z = R.normal(size=(2, 5, 6)).astype("float32"), R.normal(size=(2, 7, 6)).astype("float32")
QUERIES = R.random((2, 5, 7)) < 0.7
QUERIES[..., 0] = True


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("given", "options"),
    [((X, Z), {}), ((X, X), {"use_causal_mask": True}), ((X, Z), {"attention_mask": QUERIES}), ((X, Z, Z[::-1]), {}),
     ((X, X), {"use_causal_mask": True, "attention_mask": QUERIES[..., :5]}),
     ((X, Z), {"use_causal_mask": True}), ((Z, X, Z[:, 2:]), {"use_causal_mask": True})],
)  # fmt: skip
def test_it_is_kerass(keras, given, options):
    theirs = keras.layers.MultiHeadAttention(3, 4)
    expected = theirs(*given, **options)
    ours = cg.layers.MultiHeadAttention(3, 4)
    ours.build((5, 6))
    ours.set_weights(theirs.get_weights())
    names = dict(zip(("value", "key"), given[1:], strict=False))
    found = ours(given[0], **{n: cg.tensor(v) for n, v in {**names, **options}.items() if n != "use_causal_mask"},
                 use_causal_mask=options.get("use_causal_mask", False))  # fmt: skip
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), atol=1e-6)


def test_a_mask_of_keys_is_one_of_each_query():
    layer = cg.layers.MultiHeadAttention(2, 3)
    counts = np.arange(5) < np.array([[5], [3]])
    by_keys = layer(X, attention_mask=cg.tensor(counts))
    by_queries = layer(X, attention_mask=cg.tensor(np.repeat(counts[:, None], 5, 1)))
    np.testing.assert_allclose(by_keys.numpy(), by_queries.numpy(), atol=1e-6)


def test_what_is_not_0_counts_wholly():
    layer = cg.layers.MultiHeadAttention(2, 3)
    counts = np.array([[3, 0.5, 0, -1, 1]] * 2)
    expected = layer(X, attention_mask=counts != 0).numpy()
    for mask in (counts, counts.tolist(), np.repeat(counts[:, None], 5, 1)):
        np.testing.assert_allclose(layer(X, attention_mask=mask).numpy(), expected, atol=1e-6)


def test_steps_that_do_not_count_are_not_looked_at():
    model = cg.Sequential([cg.layers.Embedding(9, 6, mask_zero=True), cg.layers.MultiHeadAttention(2, 3)])
    model.build((None, None))
    short, long = np.array([[3, 4, 5]]), np.array([[3, 4, 5, 0, 0]])
    np.testing.assert_allclose(model(long).numpy()[:, :3], model(short).numpy(), atol=1e-6)


def test_dropout_is_of_the_weights_in_training_alone():
    layer = cg.layers.MultiHeadAttention(2, 3, dropout=0.5)
    still = layer(X).numpy()
    np.testing.assert_array_equal(layer(X).numpy(), still)
    trained = layer(X, training=True, generator=np.random.default_rng(0)).numpy()
    assert np.abs(trained - still).max() > 1e-3
    with pytest.raises(UsageError, match="give generator="):
        layer(X, training=True)


def test_what_is_refused():
    layer = cg.layers.MultiHeadAttention(2, 3)
    with pytest.raises(ShapeError, match=r"the key has shape \(2, 7, 5\)"):
        layer(X, value=cg.tensor(Z[..., :5]))
    with pytest.raises(ShapeError, match=r"a mask of shape \(2, 1, 3, 3\) for 2 heads with 5 queries and 7 keys"):
        layer(X, Z, attention_mask=np.ones((2, 1, 3, 3)))
    with pytest.raises(ShapeError, match=r"\(batch, steps, width\)"):
        cg.layers.MultiHeadAttention(2, 3)(X[0])
