"""`python -m benchmarks.gpu PART ...`: parts that run in phases within a number of seconds."""

from __future__ import annotations

import argparse
import os
import secrets
import time
from pathlib import Path

from benchmarks.gpu.runner import ENDED, run_part
from benchmarks.gpu.worker import GPU, Settings

PARTS = {
    "first-contact": ("benchmarks.gpu.first_contact", 165),
    "train": ("benchmarks.gpu.train", 300),
    "kernels": ("benchmarks.gpu.kernels", 240),
    "memory": ("benchmarks.gpu.memory", 150),
    "sanitizer": ("benchmarks.gpu.sanitizer", 60),
    "tune": ("benchmarks.gpu.tune", 200),
    "cifar10": ("benchmarks.gpu.cifar10", 300),
}
"""Of each part: its module, with PHASES and `table`, and its seconds."""
CARRIED = Path(__file__).parents[2] / ".cubins"
"""Machine code that came with the checkout."""
STAND_IN = "benchmarks.gpu.stand_in"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "parts", nargs="+", choices=PARTS, metavar="PART", help=f"any of {', '.join(PARTS)}"
    )
    parser.add_argument("--seconds", type=float, help="of all parts together, at most")
    parser.add_argument(
        "--out", default=os.environ.get("OUT"), help="folder of the results; default: $OUT"
    )
    parser.add_argument(
        "--only", default="", help="pattern of `phase case`, say 'ops conv2d.* bf16'"
    )
    parser.add_argument(
        "--earlier",
        default="",
        metavar="DIR",
        help="results of this card and commit: what passed there is not run again",
    )
    parser.add_argument(
        "--data",
        default="",
        metavar="PATH",
        help="images that cifar10 trains on, as `minidl train --data-path` takes them",
    )
    parser.add_argument("--silence", type=float, default=0, help="seconds after which a case hangs")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the ops' inputs")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument(
        "--stand-in",
        nargs="?",
        const=STAND_IN,
        default=GPU,
        metavar="MODULE",
        help="no GPU: kernels by g++, PyTorch's times from a table",
    )
    options = parser.parse_args(arguments)
    if not options.out:
        parser.error("say where the results go: --out DIR, or OUT in the environment")
    if "MINIDL_CACHE" not in os.environ and CARRIED.is_dir():
        os.environ["MINIDL_CACHE"] = str(CARRIED)  # the phases' processes inherit it
    default = sum(PARTS[name][1] for name in options.parts)
    end = time.time() + (options.seconds or default)
    statuses = []
    for i, name in enumerate(options.parts):
        module, seconds = PARTS[name]
        settings = Settings(
            part=module,
            out=str(Path(options.out).absolute()),
            machine=options.stand_in,
            only=options.only,
            seed=options.seed,
            silence=options.silence,
            earlier=options.earlier and str(Path(options.earlier).absolute()),
            data=options.data and str(Path(options.data).absolute()),
        )
        share = seconds / sum(PARTS[later][1] for later in options.parts[i:])
        statuses.append(run_part(settings, share * (end - time.time()), options.workers))
        if statuses[-1] == ENDED:
            break
    return max(statuses)
