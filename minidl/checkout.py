"""Where `models/` and `kernels/` are: inside an installed package, beside it in a checkout."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

PACKAGE = Path(__file__).parent


def kernels_folder() -> Path:
    """The folder of the CUDA sources."""
    installed = PACKAGE / "kernels"
    return installed if installed.is_dir() else PACKAGE.parent / "kernels"


class CheckoutModels:
    """Finds `minidl.models` at a checkout's top level, for Python's import."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "minidl.models":
            return None
        folder = PACKAGE.parent / "models"
        return spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def find_models() -> None:
    """Make `minidl.models` importable where the package holds no copy of it."""
    if not (PACKAGE / "models").is_dir():
        sys.meta_path.insert(0, CheckoutModels)
