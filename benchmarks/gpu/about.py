"""Where and of what a result was measured: commit, GPU, driver, clocks, versions."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLOCKS = ("name", "driver_version", "clocks.sm", "clocks.mem", "temperature.gpu", "power.draw")


def output_of(*command: str, cwd: Path | None = None) -> str:
    """What a command prints, or an empty string where it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=cwd)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit(root: Path = ROOT) -> str:
    """The commit of the tree, `+` behind it where files were changed. A tree without git, which may
    lie inside of another's, has it from MINIDL_COMMIT, else it is unknown."""
    top = output_of("git", "rev-parse", "--show-toplevel", cwd=root)
    name = output_of("git", "rev-parse", "--verify", "HEAD", cwd=root)
    if not (top and name and Path(top).samefile(root)):
        return os.environ.get("MINIDL_COMMIT") or "unknown"
    return name + ("+" if output_of("git", "status", "--porcelain", cwd=root) else "")
