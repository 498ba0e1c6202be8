"""Several kernels as one program, whose headers NVRTC reads once: a sixth of the gate's work.

A kernel's figures are those that it has alone, whoever its neighbours are (its machine code too, to
the byte, where that was compared: every kernel, NVRTC 12.4 and 13.5, sm_80 and sm_90a). Where the
compiler says more of a program than registers, nothing is taken from it: its kernels are compiled
one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from minidl.devices import nvrtc
from minidl.devices.kernels import INCLUDE, Unit

LARGEST = 16
"""Kernels of one program at most: more save little, and leave cores idle at the end."""

USED = re.compile(r"entry function '(\w+)'(?:(?!entry function).)*?Used (\d+) registers", re.DOTALL)


def groups(units: Iterable[Unit]) -> list[list[Unit]]:
    """The units in programs of the same includes, each unit in one."""
    alike: dict[tuple[object, ...], list[Unit]] = {}
    for unit in units:
        alike.setdefault((*INCLUDE.findall(unit.source), unit.folders), []).append(unit)
    return [same[i : i + LARGEST] for same in alike.values() for i in range(0, len(same), LARGEST)]


def program(units: Sequence[Unit]) -> Unit:
    """One source with all of a group: what the first includes, and each one's instantiation."""
    lines = [unit.source.splitlines(keepends=True) for unit in units]
    includes = [line for line in lines[0] if INCLUDE.match(line)]
    others = [line for of_one in lines for line in of_one if line not in includes]
    return Unit(units[0].entry, "".join((*includes, *others)), units[0].folders)


def registers(made: nvrtc.Compiled) -> dict[str, int]:
    """Of each kernel of a program."""
    return {entry: int(number) for entry, number in USED.findall(made.log)}


def compiled(units: Sequence[Unit], architecture: str) -> list[nvrtc.Compiled] | None:
    """What became of each of a group, without its code; None where the compiler says more than
    registers: it refuses, warns, spills or takes local memory."""
    try:
        made = nvrtc.compile_unit(program(units), architecture)
    except nvrtc.CompileError:
        return None
    found = registers(made)
    unclean = made.warnings or made.spilled_bytes or made.stack_bytes
    if unclean or found.keys() != {unit.entry for unit in units}:
        return None
    return [nvrtc.Compiled(b"", found[unit.entry], 0, 0, ()) for unit in units]
