"""Layers: an equation of the registry with its weights, under Keras's names and with Keras's arguments."""

from .base import LAYERS, Layer, activation_name, activations, make_activation, make_layer
from .core import Activation, Dense, Dropout, Flatten, Rescaling, Reshape
from .normalisation import BatchNormalization, LayerNormalization

__all__ = [
    "LAYERS",
    "Activation",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNormalization",
    "Rescaling",
    "Reshape",
    "activation_name",
    "activations",
    "make_activation",
    "make_layer",
]
