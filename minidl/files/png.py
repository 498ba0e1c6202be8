"""Figures of matplotlib as PNG files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from minidl.files.atomic import write_atomically


def write_figure(path: str | Path, figure: Any) -> None:
    """Draw a `matplotlib.figure.Figure` and write it, whole or not at all."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_atomically(path, drawn.getvalue())
