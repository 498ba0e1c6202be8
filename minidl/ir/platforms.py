"""Where minidl runs; elsewhere it says so before it computes anything."""

from __future__ import annotations

import platform
import sys

from minidl.ir.errors import MinidlError

SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
MACHINES = ("x86_64", "amd64", "aarch64", "arm64")
"""As `sys.platform` and `platform.machine` have them, the latter in small letters."""


def require_platform() -> None:
    """MinidlError on a system, a processor or a byte order that minidl was not made for."""
    system, machine = sys.platform, platform.machine().lower()
    known = system in SYSTEMS and machine in MACHINES
    if known and sys.byteorder == "little" and sys.maxsize > 2**32:
        return
    bits = 64 if sys.maxsize > 2**32 else 32
    raise MinidlError(
        f"minidl runs on {', '.join(SYSTEMS.values())} with 64-bit processors, x86-64 or ARM; this "
        f"is {system} on {machine or 'an unknown processor'}, {bits} bits, {sys.byteorder}-endian"
    )
