"""From launches to calls: sources, packed parameters, and what any driver of CUDA kernels must do.

Nothing here imports CuPy: `minidl.devices.cuda` has the driver of a real device, the tests have one
that runs the same sources and the same parameters on a CPU.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from minidl.devices.device import Call, in_order
from minidl.ir import ArgumentError
from minidl.ops.cuda import Address, Launch, launches_of
from minidl.ops.cuda.launch import layout, pack
from minidl.placed.graph import PlacedGraph


class Driver(Protocol):
    """What runs kernels."""

    def prepare(self, units: list[Unit]) -> None:
        """Compile what is not compiled yet, all at once."""

    def launch(self, unit: Unit, launch: Launch, parameters: bytes) -> Call:
        """A call that starts the unit's kernel with these parameters."""


@dataclass(frozen=True)
class Unit:
    """One kernel as a source of a few lines: the files it needs, and its instantiation."""

    entry: str
    source: str
    folders: tuple[Path, ...] = ()
    """Where it includes from beside `kernels/`."""


def unit_of(launch: Launch) -> Unit:
    """The source that has the launch's kernel under a name of its own."""
    files = dict.fromkeys((launch.source, *launch.more_sources))
    includes = "".join(f'#include "{file.name}"\n' for file in files)
    folders = dict.fromkeys(file.folder for file in files if file.folder is not None)
    size, _ = layout(launch.arguments)
    shared = launch.shared - launch.room
    instance = f"KERNEL(ENTRY, {launch.threads}, {size}, {shared}, {launch.kernel})\n"
    text = includes + instance
    name = "".join(c for c in launch.kernel.partition("<")[0] if c.isalnum() or c == "_")
    entry = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return Unit(entry, text.replace("ENTRY", entry), tuple(folders))


INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def digest_of(source: str, folders: Sequence[Path], *how: str) -> str:
    """A name for what a source becomes: its text, every file that it includes, directly or not,
    from the folders that are searched, and `how` it is made. Files it does not include change
    nothing. ArgumentError where one of them is in two folders: compilers search in different
    orders."""
    parts = [*how, source]
    for name, text in _included(source, folders).items():
        parts += [name, text]
    lengths = ",".join(str(len(part)) for part in parts)
    return hashlib.sha256("\0".join([lengths, *parts]).encode()).hexdigest()


def _included(source: str, folders: Sequence[Path]) -> dict[str, str]:
    """Name, as it is written, and text of each included file. One that is nowhere is left out:
    the compiler says so better."""
    found: dict[str, str] = {}
    waiting = INCLUDE.findall(source)[::-1]
    while waiting:
        name = waiting.pop()
        paths = [*{f / name: None for f in folders if (f / name).is_file()}]
        if name in found or not paths:
            continue
        if len(paths) > 1:
            both = " and ".join(map(str, paths))
            raise ArgumentError(
                f"{both} are included by one kernel", "call one of them differently"
            )
        found[name] = paths[0].read_text(encoding="utf-8")
        waiting += INCLUDE.findall(found[name])[::-1]
    return found


# -- binding ---------------------------------------------------------------------------------------


def bind(plan: PlacedGraph, base: int, driver: Driver) -> list[Call]:
    """One call for each op of a plan whose arena begins at address `base`."""
    launches = [launches_of(op) for op in plan.graph.ops]
    units = {launch: unit_of(launch) for of_op in launches for launch in of_op}
    driver.prepare(list({unit.entry: unit for unit in units.values()}.values()))

    def address(a: Address) -> int:
        return base + plan.offset(a.tensor) + a.elements * a.tensor.itemsize

    def call(launch: Launch) -> Call:
        return driver.launch(units[launch], launch, pack(launch.arguments, address))

    return [in_order([call(launch) for launch in of_op]) for of_op in launches]
