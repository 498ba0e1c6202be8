"""The layers: each states its shape rule, its ops and its gradients."""

from minidl.layers import initial
from minidl.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from minidl.layers.base import Input, Layer, Node
from minidl.layers.batchnorm2d import BatchNorm2d
from minidl.layers.builder import builder
from minidl.layers.conv2d import Conv2d
from minidl.layers.dropout import Dropout
from minidl.layers.flatten import Flatten
from minidl.layers.linear import Linear
from minidl.layers.loss import MSE, CrossEntropy, Loss
from minidl.layers.lrn import LocalResponseNorm
from minidl.layers.merge import Add, Concat
from minidl.layers.network import Network, Sequential
from minidl.layers.normalize import Normalize, from_bytes
from minidl.layers.pool2d import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "GELU",
    "MSE",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "CrossEntropy",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "Loss",
    "MaxPool2d",
    "Network",
    "Node",
    "Normalize",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "builder",
    "from_bytes",
    "initial",
]
