"""What training scripts save beside tensors: their arguments, NumPy's numbers, paths, milestones.

Nothing of it is used, so each is an object of ours that keeps what it was made of and does nothing:
an `argparse.Namespace` is no Namespace, `numpy.float64` no number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from minidl.files.pickle import Calls, Name


@dataclass(eq=False, slots=True)
class Extra:
    """A value that is not read."""

    name: str
    made_of: object = None
    state: object = None


def _made(name: str, *arguments: object) -> Extra:
    return Extra(name, arguments)


def _calls(*names: Name) -> dict[Name, Callable[..., object]]:
    return {pair: partial(_made, ".".join(pair)) for pair in names}


def set_state(extra: Extra, state: object) -> None:
    """Kept as it is: nothing walks into it."""
    extra.state = state


OBJECTS: Calls = _calls(("argparse", "Namespace"))
"""Made without arguments, by NEWOBJ: what would be their attributes is their state."""

CALLS: Calls = _calls(
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
    ("_codecs", "encode"),  # bytes, as protocol 2 has them
    *((module, kind) for module in ("pathlib", "pathlib._local") for kind in (
        "Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *((module, "set") for module in ("builtins", "__builtin__")),
    ("collections", "Counter"),
)  # fmt: skip
