"""What one training step needs, in every memory mode; no device is touched."""

from __future__ import annotations

import argparse
from pathlib import Path

import minidl as dl
from minidl.cli.options import add_memory, add_network, add_optimizer, network, optimizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser, model="alexnet", batch=128, classes=1000)
    add_optimizer(parser, lr=0.01)
    add_memory(parser)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="plan for it")
    parser.add_argument("--precision", choices=["float32", "tf32"], default="float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan file")


def run(options: argparse.Namespace) -> int:
    plan = dl.plan(
        network(options),
        options.batch_size,
        optimizer=optimizer(options),
        device=options.device,
        precision=options.precision,
        memory=options.memory,
        scratch_limit=options.scratch,
    )
    print(plan)
    if options.json is not None:
        options.json.write_text(plan.to_json() + "\n")
        print(f"plan file: {options.json}")
    return 0
