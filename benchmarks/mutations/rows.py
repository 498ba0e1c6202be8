"""Which tests concern a file: first those of its own, which most likely find a fault in it.

The tests of the simulator are in no row: they compile kernels. Test files are named as they lie
below tests/, without .py; `*` stands for any, `{stem}` for the file's own name, and `::` parts off
one test of a file whose others take long.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

GOLDEN = "compiler/test_golden::test_no_plan_becomes_larger"
SHARED = (
    *(f"layers/{stem}" for stem in ("base", "bias", "initial", "network")),
    *(f"ops/{stem}" for stem in ("host", "pixels", "reduction", "window")),
)
"""What many layers use."""
ALL_LAYERS = ("layers/test_*", "models/test_state_dict")
NOT_LAYERS = ("bits", "counters", "gradients", "optim", "signs", "sums")
OF_NO_LAYER = ("test_optim", "test_gradients", "compiler/test_modes", "compiler/test_slices")
PASSES = (
    f"{GOLDEN}[alexnet b128]",
    f"{GOLDEN}[resnet50 b64]",
    f"{GOLDEN}[googlenet b64 recompute 1 %]",
    "compiler/test_full_size::test_naive_and_caffe_are_what_the_shapes_say",
    "compiler/test_random_dags::test_every_plan_file_is_right",
    "compiler/test_random_dags::test_each_idea_saves_bytes",
)
VERIFIER = ("placed/test_verify", "compiler/test_parts", "placed/test_verify_file")

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((f"minidl/{shared}.py", ALL_LAYERS) for shared in SHARED),
    ("minidl/layers/*", ("layers/test_{stem}", "layers/test_merge", "models/test_state_dict")),
    *((f"minidl/ops/{stem}.py", ("compiler/test_parts", *OF_NO_LAYER)) for stem in NOT_LAYERS),
    ("minidl/ops/*", ("layers/test_{stem}", "layers/test_merge", "models/test_state_dict")),
    ("minidl/compiler/order/*", ("compiler/test_order*", *PASSES)),
    ("minidl/compiler/place/*", ("compiler/test_place", "compiler/test_exact_*", *PASSES)),
    ("minidl/compiler/recompute/*", ("compiler/test_recompute", *PASSES)),
    ("minidl/compiler/rewrites/*", ("compiler/test_{stem}", "compiler/test_rewrites", *PASSES)),
    ("minidl/placed/*", VERIFIER),
    ("minidl/compiler/*", ("compiler/test_{stem}", *PASSES)),
    ("minidl/interop/onnx_*", ("interop/test_onnx*", "interop/test_weights")),
    ("minidl/interop/*", ("interop/test_{stem}", "interop/test_weights", "interop/test_*")),
    (
        "minidl/files/*",
        ("files/test_{stem}*", "interop/test_[pws]*", "data/test_h*", "files/test_*"),
    ),
    ("minidl/data/*", ("data/test_{stem}*", "data/test_[sh]*", "data/test_*")),
)
"""The first row that fits is a file's. What takes long stands last."""


def chosen_tests(file: str, root: Path) -> list[str]:
    """Tests of the tree at `root`, each once, in the order in which they run."""
    patterns = next((tests for name, tests in ROWS if fnmatch(file, name)), None)
    if patterns is None:
        raise ValueError(f"no row of tests for {file}: add one to {Path(__file__).name}")
    found = [name for pattern in patterns for name in _found(pattern, PurePosixPath(file), root)]
    return list(dict.fromkeys(found))


def _found(pattern: str, file: PurePosixPath, root: Path) -> Iterator[str]:
    """What pytest calls the tests of a pattern."""
    files, both, test = pattern.replace("{stem}", file.stem).partition("::")
    for path in sorted((root / "tests").glob(f"{files}.py")):
        yield f"{path.relative_to(root).as_posix()}{both}{test}"
