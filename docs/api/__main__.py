"""`python -m docs.api [FOLDER]`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pdoc

HERE = Path(__file__).parent
DRAWING = HERE.parent / "images" / "vgg16_arena.svg"
MODULES = ("minidl", "minidl.data", "minidl.interop", "minidl.models", "minidl.train")
"""What people import."""


def build(folder: Path) -> None:
    """A page a module, a first page with the drawing of a plan, and a search."""
    pdoc.render.configure(template_directory=HERE, docformat="markdown")
    # each without the modules inside of it: pdoc takes the words in order
    words = [word for name in MODULES for word in (name, rf"!{re.escape(name)}\..+")]
    pdoc.pdoc(*words, output_directory=folder)
    shutil.copy(DRAWING, folder)


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "build/api")
    build(where)
    print(f"pages: {where / 'index.html'}")
