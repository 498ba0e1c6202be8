"""Where and of what a result was measured: commit, GPU, driver, clocks, versions."""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

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


def about(device: Any) -> dict[str, Any]:
    """All of it, as plain data."""
    query = output_of("nvidia-smi", f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader")
    found: dict[str, Any] = {
        "date": date.today().isoformat(),
        "commit": commit(),
        "python": platform.python_version(),
        "architecture": getattr(device, "architecture", "simulated"),
        "gpu": dict(zip(CLOCKS, query.split(", "), strict=False)),
    }
    for name in ("minidl", "numpy", "cupy", "torch"):
        try:
            found[name] = str(importlib.import_module(name).__version__)
        except (ImportError, AttributeError):
            found[name] = None
    return found


def write_once(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON; FileExistsError where there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print(f"wrote {path}", flush=True)
