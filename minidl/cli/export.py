"""Write trained weights for other programs: ONNX, .safetensors."""

from __future__ import annotations

import argparse

from minidl.cli.images import add_constants
from minidl.cli.options import add_config, add_device, add_network, add_switch
from minidl.cli.trained import add_trained, compiled, predictor, say_weights
from minidl.cli.values import path
from minidl.console import result
from minidl.ir import ArgumentError

EXAMPLES = (
    ("minidl export --run run --onnx model.onnx", "a model that ONNX Runtime reads, NCHW"),
    (
        "minidl export --run run --onnx model.onnx --channels-last --probabilities",
        "NHWC images in, probabilities out",
    ),
    ("minidl export --run run --safetensors model.safetensors", "weights that PyTorch reads"),
    (
        "minidl export --weights vgg16.pth --model vgg16 --safetensors vgg16.safetensors",
        "from one format to the other",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--onnx", type=path, metavar="FILE", help="write a model (extra: minidl[onnx])"
    )
    group.add_argument(
        "--safetensors",
        type=path,
        metavar="FILE",
        help="write the weights, with PyTorch's names and layouts",
    )
    add_switch(group, "--channels-last", "ONNX: the input is NHWC, not NCHW")
    add_switch(group, "--probabilities", "ONNX: the output is the softmax, not what goes into it")
    group.add_argument("--opset", type=int, default=17, metavar="N", help="ONNX: its version")
    weights = add_trained(parser)
    add_constants(weights)
    add_network(parser, model=None, batch=None, classes=None)
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    if options.onnx is None and options.safetensors is None:
        raise ArgumentError("nothing to be written", "--onnx FILE, --safetensors FILE or both")
    network = predictor(options, batch=1)
    compiled(network)
    if options.safetensors is not None:
        network.save_weights(options.safetensors)
    if options.onnx is not None:
        network.export_onnx(
            options.onnx,
            opset=options.opset,
            channels_last=options.channels_last,
            probabilities=options.probabilities,
        )
    for name, written in (("weights", options.safetensors), ("ONNX model", options.onnx)):
        if written is not None:
            result(f"{name}: {written}")
    say_weights(network, options)
    return 0
