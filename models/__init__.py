"""Models: `Model`, `Sequential` and `load_model` as Keras has them, and the transformers GPT, BERT and ViT."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..nn.models import Input, Model, Sequential, clone_model, load_model, save_model

if TYPE_CHECKING:
    from .bert import BERT
    from .gpt import GPT
    from .vit import ViT

__all__ = ["BERT", "GPT", "Input", "Model", "Sequential", "ViT", "clone_model", "load_model", "save_model"]

LATER = {"BERT": "bert", "GPT": "gpt", "ViT": "vit"}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(f".{LATER[name]}", __name__), name)
    return globals()[name]
