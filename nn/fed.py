"""What a network is fed with: samples, targets and their weights, or batches, checked against its ends and its loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import UsageError
from .compiled import Compiled
from .criterion import Loss
from .endings import ending
from .fitting import check_metric
from .heads import in_order
from .samples import Augment, Joined, Samples
from .sources import Source, is_source, kinds


class Fed(Compiled):
    """A compiled network that makes of what it is handed samples, or a source of batches, for each input and output."""

    def _samples(
        self,
        x: Any,
        y: Any,
        loss: Loss,
        what: str,
        sample_weight: Any = None,
        class_weight: Any = None,
        augmentation: Augment | None = None,
    ) -> Samples:
        if y is None:
            raise UsageError(f"{what}y is missing: a loss compares the outputs with targets.")
        if len(self._separate(x)) > 1 or len(self.outputs_at) > 1:
            return self._joined(x, y, what, sample_weight, class_weight, augmentation)
        (x,), (y,) = self._separate(x), self._separate_outputs(y, f"{what}y")
        samples = Samples(x, y, self.dtype, self.device, what, augmentation, self.deciding_layer)
        self.check_input(samples.x.shape)
        output_shape = self.output_shapes(samples.x.shape[1:])[0]
        samples.prepare_targets(loss, output_shape)
        samples.weigh(sample_weight, class_weight, loss, output_shape)
        for metric in self.metrics:
            check_metric(metric, loss, samples.y, output_shape, ending(self))
        return samples

    def _separate_outputs(self, y: Any, what: str) -> list[Any]:
        """The targets of each output by itself."""
        names = self.output_names
        if len(names) == 1 and not (isinstance(y, (list, tuple)) and len(y) == 1 and hasattr(y[0], "shape")):
            return [y[names[0]] if isinstance(y, dict) and [*y] == names else y]
        found = in_order(y, names, what)
        if lost := [name for name, each in zip(names, found, strict=True) if each is None]:
            raise UsageError(f"{what} has no targets for the output {lost[0]!r}: each output has some, {names}.")
        return found

    def _joined(
        self, x: Any, y: Any, what: str, sample_weight: Any, class_weight: Any, augmentation: Augment | None
    ) -> Samples:
        """Samples of several inputs or outputs."""
        if augmentation is not None or (class_weight is not None and len(self.outputs_at) > 1):
            raise UsageError("augmentation takes one input, and class_weight one output: this model has several.")
        inputs, names = self._inputs(x, what), self.output_names
        ys = self._separate_outputs(y, f"{what}y")
        apart = isinstance(sample_weight, (list, tuple, dict))
        weights = in_order(sample_weight, names, f"{what}sample_weight") if apart else [sample_weight] * len(names)
        shapes = self.infer_shapes(of_samples(inputs.shape))
        first = inputs.inputs[0].x if isinstance(inputs, Joined) else inputs.x
        outputs = []
        for number, loss in enumerate(self.losses):
            told = f"{what}output {names[number]!r}: " if len(names) > 1 else what
            one = Samples(first, ys[number], self.dtype, self.device, told, deciding=self.deciding_layers[0])
            one.prepare_targets(loss, shapes[self.outputs_at[number]])
            one.weigh(weights[number], class_weight, loss, shapes[self.outputs_at[number]])
            outputs.append(one)
        for metric, head in zip(self.metrics, self._places, strict=True):
            shape = shapes[self.outputs_at[head]]
            check_metric(metric, self.losses[head], outputs[head].y, shape, ending(self, head))
        return Joined(inputs.inputs if isinstance(inputs, Joined) else [inputs], outputs)

    def _source(
        self, given: Any, beside: Iterable[Any], loss: Loss, what: str, steps: Any, class_weight: Any = None
    ) -> Source:
        """What gives batches, each of which is checked as samples are."""
        if any(part is not None for part in beside):
            raise UsageError(f"{what}x gives batches, so y and sample_weight are in them: (x, y, sample_weight).")

        def made(parts: tuple[Any, ...], what: str) -> Samples:
            if len(parts) not in (2, 3):
                raise UsageError(
                    f"{what} is {len(parts)} things ({kinds(parts)}): it is (x, y) or (x, y, sample_weight)."
                )
            x, y, weights = (*parts, None)[:3]
            return self._samples(x, y, loss, f"{what}: ", weights, class_weight)

        return Source(given, made, what, steps)

    def _measurable(self, x: Any, y: Any, sample_weight: Any, loss: Loss, what: str, steps: Any) -> Samples | Source:
        """What the model is measured on."""
        if is_source(x):
            return self._source(x, (y, sample_weight), loss, what, steps)
        return self._samples(x, y, loss, what, sample_weight)

    def _inputs(self, x: Any, what: str = "") -> Samples:
        xs = self._separate(x)
        if len(xs) > 1:
            parts = zip(xs, self.input_names, self.deciding_layers, strict=True)
            each = [
                Samples(values, None, self.dtype, self.device, f"{what}input {name!r}: ", deciding=layer)
                for values, name, layer in parts
            ]
            samples: Samples = Joined(each, [])
        else:
            samples = Samples(xs[0], None, self.dtype, self.device, what, deciding=self.deciding_layer)
        self.check_input(samples.shape)
        return samples

    def _inputs_of(self, parts: tuple[Any, ...], what: str) -> Samples:
        return self._inputs(parts[0], f"{what}: ")


def of_samples(shape: Any) -> Any:
    """The shape of a sample, or of one of each input."""
    return [each[1:] for each in shape] if isinstance(shape, list) else shape[1:]
