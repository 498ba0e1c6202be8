"""Which tests concern a file: first those of its own, which most likely find a fault in it.

The tests of the simulator are in no row: they compile kernels. Test files are named as they lie
below tests/, without .py; `*` stands for any, `{stem}` for the file's own name.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

LAYERS = ("layers/test_*", "models/test_state_dict", "compiler/test_modes")
PASSES = (
    "compiler/test_modes",
    "compiler/test_random_dags",
    "compiler/test_verify_file",
    "compiler/test_golden",
)
VERIFIER = ("compiler/test_verify", "compiler/test_parts", "compiler/test_verify_file")

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("minidl/layers/*", ("layers/test_{stem}", *LAYERS)),
    ("minidl/compiler/order/*", ("compiler/test_order*", *PASSES)),
    ("minidl/compiler/place/*", ("compiler/test_place", "compiler/test_exact_*", *PASSES)),
    ("minidl/compiler/recompute/*", ("compiler/test_recompute", *PASSES)),
    ("minidl/compiler/rewrites/*", ("compiler/test_{stem}", "compiler/test_rewrites", *PASSES)),
    ("minidl/compiler/verify*", (*VERIFIER, "compiler/test_modes")),
    ("minidl/compiler/*", ("compiler/test_{stem}", *PASSES)),
    ("minidl/interop/onnx_*", ("interop/test_onnx*", "interop/test_weights")),
    ("minidl/interop/*", ("interop/test_{stem}", "interop/test_weights", "interop/test_*")),
    ("minidl/data/*", ("data/test_{stem}*", "data/test_[sh]*", "data/test_*")),
)
"""The first row that fits is a file's. What takes long stands last."""


def tests_of(file: str, root: Path) -> list[str]:
    """Test files of the tree at `root`, each once, in the order in which they run."""
    patterns = next((tests for name, tests in ROWS if fnmatch(file, name)), None)
    if patterns is None:
        raise ValueError(f"no row of tests for {file}: add one to {Path(__file__).name}")
    stem = PurePosixPath(file).stem
    found = [
        path.relative_to(root).as_posix()
        for pattern in patterns
        for path in sorted((root / "tests").glob(f"{pattern.format(stem=stem)}.py"))
    ]
    return list(dict.fromkeys(found))
