"""Smooth activations: Softplus, and Swish with a trained parameter for each channel."""

from tests.outside.smooth import cuda
from tests.outside.smooth.layers import Softplus, Swish

__all__ = ["Softplus", "Swish", "cuda"]
