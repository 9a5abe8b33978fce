"""The equations: each a primitive, with its gradient beside it, one family a file."""

from . import (
    activation,
    arithmetic,
    arrangement,
    attention,
    composed,
    contraction,
    convolution,
    creation,
    elementary,
    linalg,
    logic,
    lookup,
    loss,
    normalisation,
    pooling,
    recurrent,
    reduction,
    rounding,
    shapes,
    statistics,
)
