"""Run every memory mode: bytes, time, and whether the bits agree.

The steps are real, on random images.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import minidl as dl
from minidl.cli.options import (
    add_config,
    add_device,
    add_network,
    add_optimizer,
    device,
    network,
    optimizer,
)
from minidl.cli.values import positive, seed
from minidl.compiler.modes import MODES
from minidl.console import show
from minidl.ir import Array, format_size

EXAMPLES = (
    ("minidl compare --model alexnet -b 8", "bytes, time and bits of every memory mode"),
    ("minidl compare --model lenet -b 4 --classes 10 --steps 1", "the same in a second"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_network(parser, model="alexnet", batch=8, classes=1000)
    add_optimizer(parser, lr=0.01)
    group = parser.add_argument_group("run")
    group.add_argument(
        "--steps", type=positive, default=3, metavar="N", help="timed steps, after one more"
    )
    group.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of weights, dropout and images"
    )
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    net = network(options)
    show(f"{net.name}, batch {options.batch_size}, {options.steps + 1} steps in every mode")
    show(f"  {'mode':<12} {'arena':>12} {'step':>10}  bits")
    reference: bytes | None = None
    agree = True
    for mode in MODES:
        step = dl.compile(
            net,
            options.batch_size,
            optimizer=optimizer(options),
            memory=mode,
            seed=options.seed,
            **device(options),
        )
        seconds, bits = _train(step, options)
        reference = reference or bits
        same = bits == reference
        agree &= same
        word = "reference" if mode == "naive" else "same as naive" if same else "DIFFERENT"
        show(
            f"  {mode:<12} {format_size(step.plan.arena_bytes):>12} {1e3 * seconds:8.1f} ms  {word}"
        )
        del step
    return 0 if agree else 1


def _train(step: dl.Step, options: argparse.Namespace) -> tuple[float, bytes]:
    """The median step time, and the bits of all losses and variables."""
    images, labels = _batch(step, options.seed)
    losses, times = [], []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        losses.append(step(images, labels))
        times.append(time.perf_counter() - start)
    variables = b"".join(step.array(name).tobytes() for name in step.variables)
    return statistics.median(times[1:]), np.array(losses).tobytes() + variables


def _batch(step: dl.Step, seed: int) -> tuple[Array, Array]:
    chance = np.random.default_rng(seed)
    images, labels = step.plan.graph.inputs
    classes = step.inference_plan.graph.outputs[0].shape[-1]
    noise = chance.standard_normal(images.shape, dtype=np.float32)
    return noise, chance.integers(0, classes, labels.shape)
