"""Compile every kernel with every NVRTC that minidl supports: `python -m benchmarks.gate`.

Each compiler gets an environment of its own, made by pip from the extra that a user would install,
and runs `benchmarks.resources` there. --write writes the tables of kernels/resources instead of
comparing with them, --loops FOLDER counts main loops instead, --only 12.4 runs one compiler. About
ten minutes on two cores; no GPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.resources import CHIP_OF, kernels, save
from minidl.ops.host import cores

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
EVERY = tuple(CHIP_OF)
FIRST_AND_HOPPER = ("sm_80", "sm_90a")


@dataclass(frozen=True)
class Compiler:
    """One NVRTC as a user's environment has it."""

    version: str
    extra: str
    """Of pyproject.toml: what a user installs to compile."""
    pins: tuple[str, ...]
    """What makes pip take this version."""
    architectures: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    """Architectures that are newer than this compiler."""

    @property
    def compiles_for(self) -> tuple[str, ...]:
        return tuple(name for name in self.architectures if name not in self.unknown)


COMPILERS = (
    Compiler(
        "12.4",
        "nvrtc12",
        ("nvidia-cuda-nvrtc-cu12==12.4.127", "cuda-bindings==12.8.0"),
        EVERY,
        unknown=("sm_100", "sm_120"),
    ),
    Compiler("12.9", "nvrtc12", ("nvidia-cuda-nvrtc-cu12==12.9.86",), FIRST_AND_HOPPER),
    Compiler(
        "13.0",
        "nvrtc13",
        ("nvidia-cuda-nvrtc==13.0.88", "cuda-bindings==13.0.*"),
        FIRST_AND_HOPPER,
    ),
    Compiler("13.5", "nvrtc13", ("nvidia-cuda-nvrtc==13.5.37",), EVERY),
)
"""The oldest of cuda12, the newest of cuda12, the oldest and the newest of cuda13."""


DISASSEMBLER = "nvidia-cuda-nvdisasm==13.5.37"
"""Reads the machine code of every compiler."""


def requirements(extra: str) -> list[str]:
    """What pip installs for minidl with an extra, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


def environment(compiler: Compiler, folder: Path) -> Path:
    """The Python of a fresh environment with this compiler, filled by the pip that runs here."""
    venv.create(folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    asked = (*requirements(compiler.extra), *compiler.pins, DISASSEMBLER)
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "-q", "--no-compile", *asked], check=True)
    return python


def passes(compiler: Compiler, python: Path, listed: Path, options: argparse.Namespace) -> bool:
    """Run one compiler over the listed kernels."""
    command = [python, "-m", "benchmarks.resources", "--kernels", listed]
    command += ["--expect", compiler.version, "-j", str(options.workers)]
    if options.loops:
        command += ["--loops", options.loops]
    else:
        command += ["--architectures", ",".join(compiler.architectures)]
        command += ["--unknown", ",".join(compiler.unknown)]
    command += ["--write"] if options.write else []
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, cwd=ROOT, env=own, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    chosen = [c for c in COMPILERS if options.only is None or c.version in options.only]
    failed = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "kernels.json"
        folders = [Path(scratch) / compiler.version for compiler in chosen]
        with ThreadPoolExecutor(options.workers) as pool:
            pythons = pool.map(environment, chosen, folders)
            save(kernels(), listed)
        for compiler, python in zip(chosen, pythons, strict=True):
            if not passes(compiler, python, listed, options):
                failed.append(compiler.version)
    print(
        f"the gate took {time.perf_counter() - began:.0f} s; failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    versions = [compiler.version for compiler in COMPILERS]
    parser.add_argument("--only", action="append", choices=versions, help="one compiler")
    parser.add_argument("--write", action="store_true", help="write the tables")
    parser.add_argument("--loops", type=Path, metavar="FOLDER", help="count main loops instead")
    parser.add_argument("-j", "--workers", type=int, default=cores(), help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
