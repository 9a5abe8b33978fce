"""Model: a network made from inputs and outputs, or written by its user; what shows and keeps it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy

from ..engine.primitive import registry
from ..engine.sharing import changing, reading
from ..engine.streams import say
from ..engine.tensor import Tensor, tensor
from ..errors import UsageError
from ..names import OWN, PRIMITIVE, registered, resolved, taken_by
from . import checkpoint, loading
from .architecture import MODELS, architecture_of, graph_from
from .graph import Graph, Symbol, graph_of, is_symbolic
from .layers.base import Layer, default_name, make_layer, plain, with_layers
from .layers.core import InputLayer
from .measuring import in_dtype
from .nested import Body
from .summary import summary_text
from .trained import Trained


class Model(Trained):
    """A model of the layers between inputs and outputs, with Keras's methods and meanings.

    inputs, outputs: symbols, as `Input` and layers called on symbols give them; lists of them, or dicts by name, where
    there are several. A layer may be called several times, on one value or on a list of them, and so may a model.
    A class of one's own makes its layers in its constructor, and has `call(self, x)` that computes, maybe with
    `training`.

    seed: what the weights are drawn from; the same seed gives the same weights; by default 0, or what follows from
    `utils.set_random_seed`. dtype: of weights and computation;
    "mixed_float16" computes in float16 with weights of float32.
    device: where they live. All that is learned, or may be, lies in one flat buffer, `flat`, of which the layers'
    weights are views; a layer that another model has, too, is the same in both.

    Raises UsageError for outputs that need another input, and for an input that none of them needs, by name.
    """

    takes_ids: ClassVar[bool] = False
    """Of a class of one's own, whether its `call` takes whole numbers as they are."""

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        *,
        seed: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        name: str | None = None,
    ) -> None:
        name = name or ("functional" if type(self) is Model else default_name(type(self)))
        self._outputs_named: list[str] = []
        if inputs is None and outputs is None:
            if not hasattr(type(self), "call"):
                raise UsageError(
                    "Model(inputs, outputs) takes symbols, as Input and layers give them; a class of one's own has "
                    "call(self, x)."
                )
            super().__init__([], seed, dtype, device, name)
            self._append(Body(self, frozenset(vars(self))), {}, set())
            return
        given, made = _symbols("inputs", inputs), _symbols("outputs", outputs)
        found: Graph = graph_of(given, made)
        super().__init__(found, seed, dtype, device, name)
        self._outputs_named = [*outputs] if isinstance(outputs, dict) else []

    def __call__(
        self, x: Any, *further: Any, training: bool | None = None, generator: numpy.random.Generator | None = None,
        **others: Any,
    ) -> Any:  # fmt: skip
        """The output for a batch, on the tape; further, others: what else the `call` of a class of one's own takes."""
        if further:
            names = self.parts[0]._further if hasattr(type(self), "call") else ()
            if len(further) > len(names):
                raise UsageError(f"{self.name}: {type(self).__name__} is called on x{', '.join(('', *names))}.")
            others |= zip(names, further, strict=False)
        if not others:
            return super().__call__(x, training=training, generator=generator)
        if not hasattr(type(self), "call"):
            raise UsageError(f"{self.name} takes x alone, not {', '.join(others)}.")
        if is_symbolic(x, *others.values()):
            return self.as_layer(x, **others)
        x = x if isinstance(x, Tensor) else tensor(x, device=self.device)
        self.build(x.shape[1:])
        self.check_input(x.shape)
        given = {
            name: tensor(each, device=self.device) if isinstance(each, numpy.ndarray) else each
            for name, each in others.items()
        }
        body = self.parts[0]
        return body._applied(body.weights, in_dtype(self, x), bool(training), generator, **given)

    @property
    def input_layers(self) -> list[Layer]:
        """What stands for its inputs among the layers."""
        return [InputLayer(symbol=each) for each in self._given] if self._is_graph else []

    @property
    def _is_graph(self) -> bool:
        """Whether it was made from inputs and outputs."""
        return bool(self._given)

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called: as in the dict that they were given in, else as the layers that make them."""
        return self._outputs_named or super().output_names

    # What it consists of

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        MODELS.add(cls.__name__, cls)

    def architecture(self) -> dict[str, Any]:
        """What there is to be told of its layers and their calls; see nn.architecture."""
        return architecture_of(self)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the model again of, without its weights; of a class of the user's, what it is given.

        Raises UsageError where such a class does not keep what it is given.
        """
        if hasattr(type(self), "call"):
            return self.arguments()
        shape = {"input_shape": _one_or_all(self.input_shapes)} if self.knows_its_input else {}
        return {"name": self.name, "seed": self.seed, "dtype": self.policy, **shape, **self.architecture()}

    def arguments(self) -> dict[str, Any]:
        """What the class of the user's is given to make it again."""
        found = {}
        for name in taken_by(type(self)):
            if name in ("inputs", "outputs", "device"):
                continue
            if not hasattr(self, name):
                raise UsageError(
                    f"{type(self).__name__} takes {name}=…, and does not keep it: let it be self.{name}, or let "
                    "get_config() say what it is made with."
                )
            found[name] = plain(getattr(self, name))
        return found

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None, *, device: str = "cpu"
    ) -> Any:
        """The model that `get_config` tells of, without weights.

        custom_objects: the user's own functions and classes by name. Raises UsageError for what tells of no model.
        """
        facts = {name: config[name] for name in ("seed", "dtype", "name") if name in config}
        if hasattr(cls, "call"):
            whole = "arguments" in config
            own: Any = cls(
                **{name: with_layers(value) for name, value in (config["arguments"] if whole else config).items()}
            )
            vars(own).update(facts if whole else {}, device=device)
            return own
        named = custom_objects or {}
        config = resolved(config, {OWN: {**registered, **named}, PRIMITIVE: registry}, named)
        model = cls._made_of(config, [make_layer(each) for each in config["layers"]], {**facts, "device": device})
        if not config.get("trainable", True):
            kept = [layer.trainable for layer in model.parts]
            model.trainable = False
            for layer, value in zip(model.parts, kept, strict=True):
                layer.trainable = value
        return model

    @classmethod
    def _made_of(cls, config: Mapping[str, Any], layers: list[Layer], options: Mapping[str, Any]) -> Model:
        model = cls.__new__(cls)
        model._outputs_named = list(config.get("output_names", ()))
        Trained.__init__(
            model, graph_from(config, layers), **{"seed": 0, "dtype": "float32", "name": "model", **options}
        )
        return model

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
        again from the file, or where the path's extension is another format's (".h5", ".pt", ".npz", …): one is
        ".safetensors", or whatever says nothing else; ".keras" is taken, too, and the format is ours whatever it is.
        """
        self._built("save")
        checkpoint.save(self, path)

    @reading
    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write the weights alone, for `load_weights` of a model of the same architecture; else as `save`."""
        self._built("save_weights")
        checkpoint.save_weights(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: str = "cpu",
        *,
        custom_objects: Mapping[str, Any] | None = None,
        compile: bool = True,
    ) -> Self:
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


MODELS.add("Model", Model)


def _one_or_all(shapes: Sequence[Any]) -> list[Any]:
    listed = [list(shape) for shape in shapes]
    return listed[0] if len(listed) == 1 else listed


def _symbols(what: str, given: Any) -> Sequence[Symbol]:
    values = [*given.values()] if isinstance(given, Mapping) else given if isinstance(given, (list, tuple)) else [given]
    for value in values:
        if not isinstance(value, Symbol):
            raise UsageError(
                f"Model({what}=…) takes symbols, as Input and layers called on them give them, not "
                f"{type(value).__name__}."
            )
    if not values:
        raise UsageError(f"Model({what}=…) takes one or more symbols; there are none.")
    if what == "inputs" and len({id(value) for value in values}) != len(values):
        raise UsageError("Model(inputs=…): each input is named once.")
    for name, value in given.items() if isinstance(given, Mapping) and what == "inputs" else ():
        value.name = name
    return values
