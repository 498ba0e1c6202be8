"""Where `models/` and `kernels/` are: inside an installed package, beside it in a checkout."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` takes longer to import than all that is done here

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path

PACKAGE = os.path.dirname(__file__)


def kernels_folder() -> Path:
    """The folder of the CUDA sources."""
    from pathlib import Path

    installed = Path(PACKAGE, "kernels")
    return installed if installed.is_dir() else Path(PACKAGE).parent / "kernels"


class CheckoutModels:
    """Finds `minidl.models` at a checkout's top level, for Python's import."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "minidl.models":
            return None
        from importlib.util import spec_from_file_location

        folder = os.path.join(os.path.dirname(PACKAGE), "models")
        return spec_from_file_location(
            name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )


def find_models() -> None:
    """Make `minidl.models` importable where the package holds no copy of it."""
    if not os.path.isdir(os.path.join(PACKAGE, "models")):
        sys.meta_path.insert(0, CheckoutModels)
