"""The equations: each a primitive, with its gradient beside it, one family a file."""

from . import activation, arithmetic, creation, elementary, linalg, loss, normalisation, reduction, shape
