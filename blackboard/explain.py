"""`explain`: one training step of a model, or one call of a function, told by the engine's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from ..errors import UsageError
from ..nn.model import Model
from ..optim import Optimizer
from . import terminal
from .computed import call_of_function, step_of_model
from .explanation import Explanation
from .matching import Cited, Owner, documented_in
from .story import story


class Explained(Explanation):
    """An explanation that can be shown. lang: "en" or "zh".

    What writes files is imported where it is needed: to show one in a terminal should take no longer for it.
    """

    @cached_property
    def documented(self) -> tuple[Cited, ...]:
        """The documented equations that stand in it, each with what computes it here and where it differs."""
        return documented_in(self)

    def numbers(self, of: Owner) -> list[str]:
        """The D numbers of a step of `forward`, of `backward`, or of a statement of the update."""
        return [cited.entry.number for cited in self.documented if of in cited.marked]

    def show(self, lang: str = "en") -> None:
        """Print it: the way forward, the way back, the update."""
        terminal.show(story(self, lang), lang)

    def markdown(self, lang: str = "en") -> str:
        """The same as Markdown, its mathematics as LaTeX between dollar signs."""
        from . import handouts

        return handouts.markdown(story(self, lang), self.title, lang)

    def html(self, lang: str = "en") -> str:
        """The page: one file that asks nothing of the network, to step through and to change values in."""
        from .page import page

        return page([self], lang)

    def latex(self, lang: str = "en") -> str:
        """The same as a LaTeX document."""
        from . import handouts

        return handouts.latex(story(self, lang), self.title, lang)

    def _repr_markdown_(self) -> str:
        return self.markdown()


def explain(
    subject: Model | Callable[..., Any],
    *inputs: Any,
    optimizer: str | Optimizer | None = None,
    names: Mapping[str, str] | None = None,
    title: str | None = None,
    numerical: bool = True,
    seed: int = 0,
) -> Explained:
    """Explain one training step of a model on a batch, or one call of a function, by the engine's own numbers.

    subject: a compiled model, with inputs x and y, a batch as `fit` takes it; or a function of tensors whose result is
    a single number, with its arguments (floats get a gradient, integers do not). optimizer: whose update is shown; for
    a model its own, for a function none. names: what quantities are to be called, by the name they would have
    ({"v1": "z"}). title: what it is called itself. numerical: also take derivatives by numbers. seed: what dropout is
    drawn from.

    Nothing of the model is changed. Returns an Explanation: forward and backward, step by step, and the update.
    Raises UsageError for a model that is not compiled, or wrong inputs; GraphError for a function without gradients.
    """
    if isinstance(subject, Model):
        made = step_of_model(subject, inputs, optimizer, title, numerical, seed)
    elif callable(subject):
        made = call_of_function(subject, inputs, optimizer, names, title, numerical)
    else:
        raise UsageError(
            f"explain takes a model or a function of tensors, not {type(subject).__name__} ({subject!r}): "
            "explain(model, x, y) or explain(f, x)."
        )
    return Explained(**vars(made))
