"""Where `models/` and `kernels/` are: inside an installed package, beside it in a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent


def kernels_folder() -> Path:
    """The folder of the CUDA sources."""
    installed = PACKAGE / "kernels"
    return installed if installed.is_dir() else PACKAGE.parent / "kernels"


def import_models() -> ModuleType:
    """`minidl.models`, from the checkout's top level where the package holds no copy of it."""
    name = "minidl.models"
    if importlib.util.find_spec(name) is not None:
        return importlib.import_module(name)
    folder = PACKAGE.parent / "models"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"minidl.models is neither installed nor at {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
