"""A cache on disk of compiled kernels, safe with several processes at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from minidl.checkout import kernels_folder
from minidl.devices import nvrtc
from minidl.devices.kernels import Unit, digest_of


def cache_folder() -> Path:
    """MINIDL_CACHE, or `minidl` in the user's cache folder."""
    own = os.environ.get("MINIDL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "minidl"


def cubins(units: Iterable[Unit], architecture: str) -> dict[str, bytes]:
    """Machine code of each unit, by its entry; what is not in the cache is compiled."""
    units = list(units)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda unit: cubin(unit, architecture), units)
        return dict(zip((unit.entry for unit in units), made, strict=True))


def cubin(unit: Unit, architecture: str) -> bytes:
    """Machine code of one unit. A file is named by the digest of all it was made of, so it is
    never out of date; a cache that cannot be read or written is done without."""
    path = cache_folder() / f"{_digest(unit, architecture)}.cubin"
    try:
        return path.read_bytes()
    except OSError:
        pass
    code = nvrtc.compile_unit(unit, architecture).cubin
    _write(path, code)
    return code


def _digest(unit: Unit, architecture: str) -> str:
    how = (architecture, *nvrtc.OPTIONS, repr(nvrtc.version()))
    return digest_of(unit.source, (kernels_folder(),), *how)


def _write(path: Path, code: bytes) -> None:
    """All of it or nothing: written aside, then renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(code)
            os.replace(aside, path)
        except OSError:
            os.unlink(aside)
    except OSError:
        pass
