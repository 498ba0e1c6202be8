"""Functors of activations."""

from __future__ import annotations

from minidl.ops import activation as ops
from minidl.ops.cuda.launch import CppFile
from minidl.ops.cuda.rules import functor

FILE = CppFile("activation.cu")

functor(
    ops.relu_forward,
    ops.relu_dgrad,
    ops.leaky_relu_forward,
    ops.leaky_relu_dgrad,
    ops.sigmoid_forward,
    ops.sigmoid_dgrad,
    ops.tanh_forward,
    ops.tanh_dgrad,
    ops.gelu_forward,
    ops.gelu_dgrad,
    ops.gelu_tanh_forward,
    ops.gelu_tanh_dgrad,
    file=FILE,
)
