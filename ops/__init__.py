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
    decompositions,
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


def __getattr__(name: str) -> object:
    """The equations under their names, and under those that Keras has for them: `from chalkgrad import ops`."""
    if name.startswith("_"):
        raise AttributeError(name)
    from importlib import import_module

    from ..engine.namespace import namespace

    keras_names = import_module(".keras_names", __name__)
    own = vars(keras_names).get(name)
    if getattr(own, "__module__", "") != keras_names.__name__:
        own = vars(namespace).get(name)
    if own is None:
        from ..errors import nearest

        raise AttributeError(f"chalkgrad.ops has no {name!r}: {nearest(name, vars(namespace))}")
    return own
