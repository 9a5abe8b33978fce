"""Sequential: layers one after another, trained, evaluated, applied and saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..engine.sharing import changing, reading
from ..engine.streams import say
from . import checkpoint, loading
from .layers import Layer
from .summary import summary_text
from .trained import Trained


class Sequential(Trained):
    """A model that applies its layers one after another, with Keras's methods and meanings.

    layers: the layers; the first may name its `input_shape`, else the first batch tells it. seed: what the weights
    are drawn from; the same seed gives the same weights. dtype: of weights and computation. device: where they live.
    All that is learned, or may be, lies in one flat buffer, `flat`, of which the layers' weights are views.
    """

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        seed: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
        name: str = "sequential",
    ) -> None:
        super().__init__(layers, seed, dtype, device, name)

    # Showing and keeping

    def summary(self, print_fn: Callable[[str], Any] = say) -> None:
        """Print a table of the layers with output shapes and numbers of parameters."""
        self.build()
        print_fn(summary_text(self))

    def _repr_html_(self) -> str:
        """What a notebook shows: the layers, as in `summary`, and the settings of `compile`; builds nothing."""
        from .notebook import model_html

        return model_html(self)

    @reading
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model and the whole state of its training into one safetensors file, whole or not at all.

        That is the architecture, the weights (with use_ema their averages, and the raw ones), the optimiser, the
        history, what is drawn next, and the states of the callbacks: `fit` of the model that `load` gives goes on with
        the same bits. Also in the midst of a training, where a callback calls it.

        Of the user's own functions the file has the names; layers, optimisers and schedules are known by their class.
        A warning says what `load` is to be given then, and what is left out: a loss or a metric without a name.

        Raises DataError where it cannot be written, DivergenceError where a weight is not finite (what stood there is
        kept), UsageError before build, where a layer has a function without a name, where no such model could be made
        again from the file, or where the path's extension is another format's (".h5", ".keras", ".pt", ".npz", …): one
        is ".safetensors", or whatever says nothing else.
        """
        self._built("save")
        checkpoint.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: str = "cpu",
        *,
        custom_objects: Mapping[str, Any] | None = None,
        compile: bool = True,
    ) -> Sequential:
        """Make a model from a file that `save` wrote.

        Raises DataError where it is damaged (a digest in it tells), none of ours, of a newer format, or holds NaN. What
        it says, and the tensors that this implies, are checked before anything is made of them.

        custom_objects: the user's own functions and classes by name, as far as they are not registered or imported.
        compile: False makes the model without optimizer, loss and metrics.
        """
        return loading.load(cls, path, device, custom_objects, compile)

    @changing
    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Take the weights of a file whose architecture is the same; raises DataError that names the difference."""
        self._built("load_weights")
        loading.load_weights(self, path)
