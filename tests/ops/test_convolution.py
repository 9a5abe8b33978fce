"""Convolution and pooling: against PyTorch on random configurations where it is installed, and what is refused."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ShapeError, UsageError

X, W = np.ones((1, 5, 6, 4)), np.ones((3, 3, 4, 8))


def last(a):
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


def kernel(w):
    """(filters, channels, *size) as (*size, channels, filters)."""
    return np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))


def numbers(rng, low, high, count):
    return [int(n) for n in rng.integers(low, high + 1, count)]


def draw(seed):
    """A configuration whose windows fit, and its operands as PyTorch has them."""
    rng = np.random.default_rng(seed)
    while True:
        axes, groups = int(rng.choice((1, 2, 2))), int(rng.choice((1, 1, 2, 3)))
        space, size = numbers(rng, 3, 9, axes), numbers(rng, 1, 4, axes)
        stride, dilation, padding = numbers(rng, 1, 3, axes), numbers(rng, 1, 2, axes), numbers(rng, 0, 2, axes)
        if all(n + 2 * p > (k - 1) * d for n, p, k, d in zip(space, padding, size, dilation, strict=True)):
            break
    channels, filters = (groups * n for n in numbers(rng, 1, 3, 2))
    x = rng.standard_normal((int(rng.integers(1, 4)), channels, *space))
    w = rng.standard_normal((filters, channels // groups, *size))
    return rng, x, w, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def agree(torch, theirs, ours, operands, orders, rng):
    """Value and gradients with a random cotangent; `orders` bring PyTorch's operands into our order."""
    given = [torch.tensor(a, requires_grad=True) for a in operands]
    mine = [cg.tensor(order(a), requires_grad=True) for a, order in zip(operands, orders, strict=False)]
    y, z = theirs(*given), ours(*mine)
    gy = rng.standard_normal(tuple(y.shape))
    y.backward(torch.tensor(gy))
    cg.sum(z * cg.tensor(orders[0](gy))).backward()
    np.testing.assert_allclose(z.numpy(), orders[0](y.detach().numpy()), rtol=1e-12, atol=1e-12)
    for a, b, order in zip(given, mine, orders, strict=False):
        np.testing.assert_allclose(b.grad.numpy(), order(a.grad.numpy()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seeds", [range(240)], ids=str)
def test_values_and_gradients_are_those_of_pytorch(seeds):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for seed in seeds:
        compare(torch, seed)


def compare(torch, seed):
    functions = torch.nn.functional
    rng, x, w, options = draw(seed)
    axes, size = w.ndim - 2, w.shape[2:]
    first = bool(seed % 2)
    order = np.ascontiguousarray if first else last
    theirs = (functions.conv1d, functions.conv2d)[axes - 1]
    bias = [rng.standard_normal(len(w))] * (seed // 2 % 2)
    agree(
        torch, lambda *all: theirs(*all, **options), lambda *all: cg.convolution(*all, channels_first=first, **options),
        (x, w, *bias), (order, kernel, np.ascontiguousarray), rng,
    )  # fmt: skip
    padding = [min(p, k // 2) for p, k in zip(options["padding"], size, strict=True)]
    if any(n + 2 * p < k for n, p, k in zip(x.shape[2:], padding, size, strict=True)):
        return
    stride = options["stride"]
    for theirs, ours, more in (
        ((functions.max_pool1d, functions.max_pool2d)[axes - 1], cg.max_pool, {}),
        ((functions.avg_pool1d, functions.avg_pool2d)[axes - 1], cg.average_pool, {"count_include_pad": False}),
    ):
        agree(
            torch,
            lambda a, f=theirs, m=more: f(a, size, stride=stride, padding=padding, **m),
            lambda a, f=ours: f(a, size=size, stride=stride, padding=padding, channels_first=first),
            (x,), (order,), rng,
        )  # fmt: skip


@pytest.mark.parametrize("seeds", [range(60)], ids=str)
def test_the_transposed_one_is_that_of_pytorch(seeds):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for seed in seeds:
        compare_transposed(torch, seed)


def compare_transposed(torch, seed):
    rng, x, w, options = draw(seed)
    theirs = (torch.nn.functional.conv_transpose1d, torch.nn.functional.conv_transpose2d)[w.ndim - 3]
    w = np.ascontiguousarray(rng.standard_normal((x.shape[1], w.shape[0] // options["groups"], *w.shape[2:])))
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], options["dilation"], strict=True)]
    options["padding"] = [min(p, (k - 1) // 2) for p, k in zip(options["padding"], reach, strict=True)]
    more = [int(rng.integers(0, max(s, d))) for s, d in zip(options["stride"], options["dilation"], strict=True)]
    more = [min(o, s - 1) for o, s in zip(more, options["stride"], strict=True)]
    bias = [rng.standard_normal(w.shape[1] * options["groups"])] * (seed % 2)
    agree(
        torch,
        lambda *all: theirs(*all, output_padding=more, **options),
        lambda *all: cg.transposed_convolution(*all, output_padding=more, **options),
        (x, w, *bias), (last, kernel, np.ascontiguousarray), rng,
    )  # fmt: skip


def test_same_and_valid_are_those_of_keras():
    lengths = [cg.convolution(X, W, stride=s, padding=p).shape[1:3] for s in (1, 2, 3) for p in ("valid", "same")]
    assert lengths == [(3, 4), (5, 6), (2, 2), (3, 3), (1, 2), (2, 2)]
    one = np.zeros((1, 4, 1))
    one[0, 0] = 1  # an even window has the larger border behind
    np.testing.assert_array_equal(cg.convolution(one, [[[1.0]], [[2.0]]] * np.ones(1), padding="same").numpy().ravel(),
                                  [1, 0, 0, 0])  # fmt: skip
    assert cg.transposed_convolution(X, W.transpose(0, 1, 3, 2), stride=3, padding="same").shape == (1, 15, 18, 8)
    assert cg.transposed_convolution(X, W[:1, :1].transpose(0, 1, 3, 2), stride=2).shape == (1, 10, 12, 8)


def test_the_greatest_share_their_gradient():
    x = cg.tensor([[[1.0], [3.0], [3.0], [2.0]]], requires_grad=True)
    cg.sum(cg.max_pool(x, size=4)).backward()
    np.testing.assert_array_equal(x.grad.numpy().ravel(), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(cg.max_pool(np.arange(6).reshape(1, 6, 1), size=3, padding=1).numpy().ravel(), [1, 4])


def test_what_lies_beside_the_border_is_not_averaged():
    y = cg.average_pool(np.full((1, 3, 3, 1), 2.0), size=3, stride=1, padding="same")
    np.testing.assert_array_equal(y.numpy(), np.full((1, 3, 3, 1), 2.0))


def test_a_bias_has_a_dtype_of_its_own_and_any_layout():
    x, w, b = X.astype("f4"), W.astype("f4"), np.arange(8.0)
    assert cg.convolution(x, w, b).dtype == "float64"
    turned = np.asfortranarray(np.random.default_rng(0).standard_normal(X.shape))
    depthwise = np.ones((2, 2, 1, 4))
    np.testing.assert_array_equal(cg.convolution(turned, depthwise, b[:4], groups=4).numpy(),
                                  cg.convolution(turned, depthwise, groups=4).numpy() + b[:4])  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cg.convolution(X, np.ones((7, 3, 4, 8))), ShapeError, r"window of \(7, 3\) is larger .* \(5, 6\)"),
        (lambda: cg.convolution(X, W, stride=0), UsageError, "stride=0.*1 or more"),
        (lambda: cg.convolution(X, W, stride=(1, -2)), UsageError, r"stride=\(1, -2\)"),
        (lambda: cg.convolution(X, W, dilation=2.5), UsageError, "dilation=2.5"),
        (lambda: cg.convolution(X, W, stride=(1, 1, 1)), UsageError, "height, width"),
        (lambda: cg.convolution(X, np.ones((3, 3, 5, 8))), ShapeError, r"x has 4 channels .*takes 5"),
        (lambda: cg.convolution(X, W, groups=3), ShapeError, "groups divide both the 4 channels .* 8 filters"),
        (lambda: cg.convolution(X, np.ones((3, 3, 1, 8)), groups=2), ShapeError, "takes 2 .1 in each of 2 groups"),
        (lambda: cg.convolution(np.ones((128, 784)), W), ShapeError, r"height, width, channels.*\(128, 784\)"),
        (lambda: cg.convolution(X[0, 0], W, channels_first=True), ShapeError, "channels, height, width"),
        (lambda: cg.convolution(X, W[0]), ShapeError, r"w of shape \(height, width, channels / groups, filters\)"),
        (lambda: cg.convolution(X, W, np.ones(4)), ShapeError, r"b of shape \(4,\) should be \(8,\)"),
        (lambda: cg.convolution(X, W, 2), ShapeError, r"b of shape \(\) should be \(8,\)"),
        (lambda: cg.convolution(X, W, padding="smae"), UsageError, "'smae'.*same"),
        (lambda: cg.convolution(X, W, padding=(1, 2, 3)), UsageError, "padding=.*height, width"),
        (lambda: cg.convolution(X, W, padding=-1), UsageError, "0 or more"),
        (lambda: cg.max_pool(X, size=9), ShapeError, "max_pool: a window"),
        (lambda: cg.max_pool(X, size=2, padding=2), ShapeError, "would be empty"),
        (lambda: cg.average_pool(X, size=0), UsageError, "size=0"),
        (lambda: cg.transposed_convolution(X, W), ShapeError, "x has 4 channels .*takes 8"),
        (lambda: cg.transposed_convolution(X, W.transpose(0, 1, 3, 2), stride=2, output_padding=5), ShapeError,
         "no convolution with a kernel"),
        (lambda: cg.global_average_pool(np.ones((3, 4))), ShapeError, "batch, height, width"),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
