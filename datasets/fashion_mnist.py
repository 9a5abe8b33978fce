"""Fashion-MNIST: 70,000 grey pictures of clothes, 28×28, in ten classes, made to stand where MNIST stands.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017, arXiv:1708.07747. The files are checked as published, compressed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable

from .idx import Split, parse_idx, unpack
from .originals import Original, Originals

MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
ORIGINALS = Originals(
    "Fashion-MNIST",
    "fashion_mnist",
    {
        "train-images-idx3-ubyte.gz": Original(
            26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte.gz": Original(
            29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte.gz": Original(
            4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte.gz": Original(
            5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
)
NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""What the labels 0 … 9 mean."""


def load_data(
    path: str | os.PathLike[str] | None = None, *, mirrors: Iterable[str] = MIRRORS, progress: bool = True
) -> tuple[Split, Split]:
    """The data set as `((x_train, y_train), (x_test, y_test))`, in MNIST's shapes, all uint8 and new at each call.

    Where the files are looked for, and what is raised, says `Originals.load`.
    """
    packed = ORIGINALS.load(path, mirrors, progress)
    x_train, y_train, x_test, y_test = (parse_idx(unpack(io.BytesIO(each), len(each), "it")) for each in packed)
    return (x_train, y_train), (x_test, y_test)
