"""The equations: each a primitive, with its gradient beside it, one family a file."""

from . import (
    activation,
    arithmetic,
    convolution,
    creation,
    elementary,
    linalg,
    loss,
    normalisation,
    pooling,
    reduction,
    shape,
)
