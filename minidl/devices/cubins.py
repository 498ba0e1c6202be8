"""A cache on disk of compiled kernels, safe with several processes at once.

An entry is named by the digest of all it was made of, so it is never out of date, and begins with
the digest of its name and code, so that a damaged one is seen, compiled again and replaced.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from minidl.checkout import kernels_folder
from minidl.devices import nvrtc
from minidl.devices.architecture import CodeTarget, architecture_for
from minidl.devices.kernels import Unit, digest_of
from minidl.files.atomic import write_atomically
from minidl.ir.warned import warn_caller
from minidl.ops.host import cores


def cache_folder() -> Path:
    """MINIDL_CACHE, or `minidl` in the user's cache folder."""
    own = os.environ.get("MINIDL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "minidl"


def cubins(units: Iterable[Unit], capability: int) -> dict[str, bytes]:
    """Code of each unit for a card, by its entry; what is not in the cache is compiled."""
    units = list(units)
    if not units:
        return {}
    architecture = architecture_for(capability, nvrtc.supported())
    if architecture.said:
        warn_caller(architecture.said)
    with ThreadPoolExecutor(cores()) as pool:
        made = pool.map(lambda unit: cubin(unit, architecture), units)
        return dict(zip((unit.entry for unit in units), made, strict=True))


def cubin(unit: Unit, architecture: CodeTarget) -> bytes:
    """Code of one unit: from the cache, or compiled and put there. A cache that cannot be read or
    written is done without."""
    folder, key = cache_folder(), key_of(unit, architecture)
    code = read(folder, key)
    if code is None:
        code = nvrtc.compile_unit(unit, architecture).code
        with suppress(OSError):
            write(folder, key, code)
    return code


def key_of(unit: Unit, architecture: CodeTarget) -> str:
    """The name of an entry: the digest of sources, options, compiler and architecture."""
    how = (architecture.name, *nvrtc.OPTIONS, repr(nvrtc.version()))
    return digest_of(unit.source, (kernels_folder(), *unit.folders), *how)


def read(folder: Path, key: str) -> bytes | None:
    """An entry's code; None where there is none, or it is not what was written."""
    try:
        raw = _path(folder, key).read_bytes()
    except OSError:
        return None
    digest, code = raw[:DIGEST], raw[DIGEST:]
    return code if digest == _digest(key, code) else None


def write(folder: Path, key: str, code: bytes) -> None:
    """All of an entry or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(_path(folder, key), _digest(key, code) + code)


DIGEST = hashlib.sha256().digest_size


def _digest(key: str, code: bytes) -> bytes:
    return hashlib.sha256(key.encode() + code).digest()


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.kernel"
