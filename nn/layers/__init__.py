"""Layers: an equation of the registry with its weights, under Keras's names and with Keras's arguments."""

from ...datasets.text import TextVectorization
from .activated import ACTIVATIONS, activation_name, make_activation
from .activations import ELU, LeakyReLU, PReLU, ReLU, Softmax
from .arrangement import (
    Cropping1D,
    Cropping2D,
    Permute,
    RepeatVector,
    UpSampling2D,
    ZeroPadding1D,
    ZeroPadding2D,
)
from .attention import MultiHeadAttention
from .augmenting import RandomFlip, RandomRotation, RandomTranslation, RandomZoom
from .base import LAYERS, Layer, make_layer
from .convolution import Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv2D
from .core import Activation, Dense, Dropout, Flatten, Input, InputLayer, Lambda, Rescaling, Reshape
from .embedding import Embedding
from .masking import Masking
from .merging import Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Operation, Subtract
from .noise import GaussianNoise, SpatialDropout1D, SpatialDropout2D
from .normalisation import BatchNormalization, GroupNormalization, LayerNormalization, Normalization
from .operators import Operators
from .pooling import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from .recurrent import GRU, LSTM, SimpleRNN
from .wrappers import Bidirectional, TimeDistributed

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GRU",
    "LAYERS",
    "LSTM",
    "Activation",
    "Add",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Input",
    "InputLayer",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "Operation",
    "Operators",
    "PReLU",
    "Permute",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SimpleRNN",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "Subtract",
    "TextVectorization",
    "TimeDistributed",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "activation_name",
    "make_activation",
    "make_layer",
]
