"""The worked example D7-D17: a 3-4-2 net with ReLU on both layers and MSE, its gradients three times over.

By hand, as the equations stand on the blackboard; by the engine's tape; and by numbers. Then one step of gradient
descent, which lowers the loss. Run it with `python examples/worked_example.py`.

The document writes columns, one sample at a time, and leaves the slope σ' and the chain through W2 out of
some lines; here a batch is rows, and what it leaves out is written.
"""

from __future__ import annotations

import numpy as np

import chalkgrad as cg

NAMES = ("W1", "b1", "W2", "b2", "a")


def example(samples: int = 1, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights, a batch a of shape (samples, 3) and targets of shape (samples, 2), in float64 (D7).

    The weights are fixed, as on a blackboard, and so is the first sample: its third hidden unit is off. The
    others are drawn from the seed.
    """
    values = {
        "W1": np.array([[0.2, -0.4, 0.1, 0.5], [0.7, 0.3, -0.6, 0.2], [-0.3, 0.8, -0.2, 0.4]]),
        "b1": np.array([0.1, 0.0, -0.1, 0.2]),
        "W2": np.array([[0.6, -0.2], [-0.5, 0.9], [0.3, 0.4], [0.8, 0.7]]),
        "b2": np.array([0.05, -0.1]),
    }
    rng = np.random.default_rng(seed)
    a = np.vstack([[1.0, 0.5, 0.25], rng.uniform(0, 1, (samples - 1, 3))])
    return values | {"a": a}, np.vstack([[1.0, 0.0], rng.uniform(0, 1, (samples - 1, 2))])


def forward(v: dict[str, np.ndarray], target: np.ndarray) -> dict[str, np.ndarray]:
    """Hidden layer (D8), output (D9) and loss (D10)."""
    z1 = v["a"] @ v["W1"] + v["b1"]
    h = np.maximum(z1, 0)
    z2 = h @ v["W2"] + v["b2"]
    y = np.maximum(z2, 0)
    return {"z1": z1, "h": h, "z2": z2, "y": y, "J": np.mean((y - target) ** 2)}


def gradients_by_hand(v: dict[str, np.ndarray], target: np.ndarray) -> dict[str, np.ndarray]:
    """∂J/∂ each of W1, b1, W2, b2, h and a, by the chain rule written out (D11-D16)."""
    f = forward(v, target)
    gy = 2 * (f["y"] - target) / target.size  # the slope of the mean of squares
    gz2 = gy * (f["z2"] > 0)  # times σ'(z2), which D11 and D12 leave out
    gh = gz2 @ v["W2"].T  # D13
    gz1 = gh * (f["z1"] > 0)  # times σ'(z1)
    return {
        "W2": f["h"].T @ gz2,  # D11: h outer gz2, summed over the batch
        "b2": gz2.sum(axis=0),  # D12
        "h": gh,
        "W1": v["a"].T @ gz1,  # D14, with the chain through W2, which the document leaves out
        "b1": gz1.sum(axis=0),  # D15
        "a": gz1 @ v["W1"].T,  # D16
    }


def network(w1: cg.Tensor, b1: cg.Tensor, w2: cg.Tensor, b2: cg.Tensor, a: cg.Tensor) -> tuple[cg.Tensor, cg.Tensor]:
    """The same network in the engine: hidden layer and output."""
    h = cg.relu(cg.affine(a, w1, b1))
    return h, cg.relu(cg.affine(h, w2, b2))


def gradients_by_tape(v: dict[str, np.ndarray], target: np.ndarray) -> dict[str, np.ndarray]:
    """The same gradients by `backward`; that of h by cutting the network in two."""
    tensors = {name: cg.tensor(v[name], requires_grad=True) for name in NAMES}
    h, y = network(*tensors.values())
    cg.mean_squared_error(y, target).backward()
    gradients = {name: x.grad.numpy() for name, x in tensors.items() if x.grad is not None}

    def from_hidden(h: cg.Tensor) -> cg.Tensor:
        return cg.mean_squared_error(cg.relu(cg.affine(h, v["W2"], v["b2"])), target)

    return gradients | {"h": cg.grad(from_hidden)(h.detach()).numpy()}


def gradients_by_numbers(v: dict[str, np.ndarray], target: np.ndarray) -> dict[str, np.ndarray]:
    """The same gradients by the complex step, (1/h) Im J(x + ih) with h = 1e-20: exact to rounding, no rule used."""

    def loss(h: np.ndarray) -> complex:
        z2 = h @ v["W2"] + v["b2"]
        return complex(np.mean((np.where(z2.real > 0, z2, 0) - target) ** 2))

    def whole(values: dict[str, np.ndarray]) -> complex:
        z1 = values["a"] @ values["W1"] + values["b1"]
        z2 = np.where(z1.real > 0, z1, 0) @ values["W2"] + values["b2"]
        return complex(np.mean((np.where(z2.real > 0, z2, 0) - target) ** 2))

    def slopes(f, x: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
        out = np.empty(x.shape)
        for i in np.ndindex(x.shape):
            shifted = x.astype(complex)
            shifted[i] += 1e-20j
            out[i] = f(shifted).imag / 1e-20
        return out

    gradients = {name: slopes(lambda x, name=name: whole(v | {name: x}), v[name]) for name in NAMES}
    return gradients | {"h": slopes(loss, forward(v, target)["h"])}


def descend(v: dict[str, np.ndarray], target: np.ndarray, learning_rate: float = 0.05) -> dict[str, np.ndarray]:
    """One step of gradient descent on both layers (D17)."""
    g = gradients_by_hand(v, target)
    return v | {name: v[name] - learning_rate * g[name] for name in ("W1", "b1", "W2", "b2")}


def main() -> None:
    """Print the three witnesses side by side, and the loss before and after the step."""
    v, target = example()
    print(f"{'':4}{'by hand':>14}{'by the tape':>14}{'by numbers':>14}   (largest element; worst difference)")
    hand, tape, numbers = (f(v, target) for f in (gradients_by_hand, gradients_by_tape, gradients_by_numbers))
    for name in hand:
        i = np.unravel_index(np.abs(hand[name]).argmax(), hand[name].shape)
        worst = max(np.abs(hand[name] - other[name]).max() for other in (tape, numbers))
        print(f"∇{name:3}{hand[name][i]:14.9f}{tape[name][i]:14.9f}{numbers[name][i]:14.9f}   {worst:.1e}")
    print(f"J = {forward(v, target)['J']:.9f}, after one step {forward(descend(v, target), target)['J']:.9f}")


if __name__ == "__main__":
    main()
