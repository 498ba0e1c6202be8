"""Every file is opened by `minidl.files`, and every text of a format is parsed there: found in the
syntax trees, whoever reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.test_floors import MODULES

METHODS = {"read_text", "read_bytes", "open", "extractfile", "extractall"}
"""Whatever they are called on."""

OF_MODULES = {
    ("json", "loads"), ("json", "load"), ("pickle", "loads"), ("pickle", "load"), ("np", "load"),
    ("np", "fromfile"), ("np", "memmap"), ("np", "loadtxt"), ("os", "open"), ("marshal", "loads"),
    ("tomllib", "load"), ("tomllib", "loads"), ("zipfile", "ZipFile"), ("gzip", "decompress"),
    ("csv", "reader"), ("csv", "DictReader"), ("shutil", "unpack_archive"),
}  # fmt: skip

ELSEWHERE = {
    ("minidl.console", "os.open"): "the null device",
    ("minidl.cli.command", "read_text"): "minidl's own modules",
    ("minidl.compiler.place.table", "csv.DictReader"): "of a text, whose errors it names",
    ("minidl.data.decode", "open"): "Pillow's, of bytes",
    ("minidl.data.digits", "gzip.decompress"): "minidl's own digits",
    ("minidl.data.digits", "read_bytes"): "minidl's own digits",
    ("minidl.data.worker", "pickle.loads"): "what the parent process wrote for its workers",
    ("minidl.devices.cpu", "open"): "/proc/meminfo",
    (
        "minidl.devices.cubins",
        "read_bytes",
    ): "the cache that minidl wrote, in a folder of the user's",
    ("minidl.devices.kernels", "read_text"): "kernels, which are minidl's own or the user's",
    ("minidl.devices.known", "open"): "a device",
    ("minidl.report.page", "read_text"): "minidl's own page",
    ("minidl.roofline.counts", "csv.DictReader"): "minidl's own counts",
}
"""Reads outside of files/, and why."""


def reads(source: str) -> Iterator[str]:
    """The calls in a module's source that open or parse files."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = getattr(getattr(function, "value", None), "id", "")
        if (owner, name) in OF_MODULES:
            yield f"{owner}.{name}"
        elif name in METHODS and (isinstance(function, ast.Attribute) or name == "open"):
            yield name


@pytest.mark.parametrize("name", MODULES)
def test_files_are_read_in_one_place(name: str) -> None:
    found = set(reads(MODULES[name].read_text(encoding="utf-8")))
    if not name.startswith("minidl.files."):
        assert [r for r in sorted(found) if (name, r) not in ELSEWHERE] == []


def test_the_exceptions_are_there() -> None:
    found = {(n, r) for n, path in MODULES.items() for r in reads(path.read_text(encoding="utf-8"))}
    assert found >= ELSEWHERE.keys()


@pytest.mark.parametrize(
    "line", ["open(p)", "p.read_bytes()", "json.loads(t)", "np.load(p)", "os.open(p, 0)"]
)
def test_what_reads_is_found(line: str) -> None:
    assert list(reads(line))
