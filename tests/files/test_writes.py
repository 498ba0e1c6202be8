"""Every file is written by `minidl.files`: found in the syntax trees, whoever writes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.test_floors import MODULES

WRITERS = {
    *("save_file", "SummaryWriter", "mkstemp", "NamedTemporaryFile", "TemporaryFile", "FileIO"),
    *("ZipFile", "copyfile", "copy2", "copytree", "savez", "savez_compressed", "savetxt", "memmap"),
}
"""Functions that make or change files, whatever they are called on."""

METHODS = {
    *("write_text", "write_bytes", "savefig", "tofile", "touch", "truncate"),
    *("hardlink_to", "symlink_to", "mknod"),
}
"""The same for methods."""

OF_MODULES = {
    ("np", "save"), ("pickle", "dump"), ("json", "dump"), ("os", "replace"), ("os", "rename"),
    ("shutil", "move"), ("shutil", "copy"), ("os", "link"), ("os", "symlink"), ("os", "write"),
}  # fmt: skip
"""The same for names that mean other things elsewhere."""

MODE = re.compile(r"(?=.*[wax+])[rwaxbt+]{1,4}(?:[:|](?:gz|bz2|xz|\*)?)?")
"""What `open` is told where it may write."""

FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}

ELSEWHERE = {
    ("minidl.train.tensorboard", "SummaryWriter"): "tensorboardX appends events to its own files",
    ("minidl.data.ring", "TemporaryFile"): "memory that processes share: a file without a name",
    ("minidl.starting", "os.write"): "standard error, before anything is imported",
    ("minidl.console", "os.open"): "the null device, once nobody reads standard output",
}
"""Writes outside of files/, and why."""


def writes(source: str) -> Iterator[str]:
    """The calls in a module's source that write files."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (name := write_of(node)):
            yield name


def write_of(call: ast.Call) -> str:
    """What a call that writes is called; empty where it does not."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = getattr(getattr(function, "value", None), "id", "")
    given = [*call.args, *(k.value for k in call.keywords)]
    if name in WRITERS or (name in METHODS and isinstance(function, ast.Attribute)):
        return name
    if (owner, name) in OF_MODULES:
        return f"{owner}.{name}"
    if (owner, name) == ("os", "open"):
        flags = {n.attr for value in given for n in ast.walk(value) if isinstance(n, ast.Attribute)}
        return "os.open" if flags & FLAGS else ""
    if name in ("open", "fdopen", "opener"):
        words = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return name if any(MODE.fullmatch(word) for word in words) else ""
    # A Path's have one argument; str.replace has two, dataclasses.replace has keywords.
    alone = len(call.args) == 1 and not call.keywords and isinstance(function, ast.Attribute)
    return name if name in ("replace", "rename") and alone else ""


@pytest.mark.parametrize("name", MODULES)
def test_files_are_written_in_one_place(name: str) -> None:
    found = list(writes(MODULES[name].read_text(encoding="utf-8")))
    if name.startswith("minidl.files."):
        return
    assert [w for w in found if (name, w) not in ELSEWHERE] == []


def test_the_exceptions_are_there() -> None:
    found = {
        (name, write)
        for name in {name for name, _ in ELSEWHERE}
        for write in writes(MODULES[name].read_text(encoding="utf-8"))
    }
    assert found == set(ELSEWHERE)


def test_all_writing_of_files_is_done_by_two_functions() -> None:
    """`write_atomically` and `append_line`, all others by way of them; a lock signs its file."""
    inside = {
        name: set(writes(path.read_text(encoding="utf-8")))
        for name, path in MODULES.items()
        if name.startswith("minidl.files")
    }
    assert {name for name, found in inside.items() if found - {"savefig", "ZipFile"}} == {
        "minidl.files.atomic",
        "minidl.files.lock",
    }


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "open(path, 'r+b')",
        "path.open('x')",
        "path.open('wt', newline='')",
        "gzip.open(path, 'wb')",
        "tarfile.open(path, 'w:gz')",
        "os.fdopen(handle, 'wb')",
        "os.open(path, os.O_RDONLY | os.O_CREAT)",
        "path.write_text(text)",
        "Path(path).write_bytes(data)",
        "np.save(path, array)",
        "np.savez(path, a=array)",
        "array.tofile(path)",
        "figure.savefig(path)",
        "pickle.dump(value, file)",
        "part.replace(path)",
        "part.rename(path)",
        "os.replace(part, path)",
        "tempfile.mkstemp()",
        "save_file(arrays, path)",
    ],
)
def test_a_write_is_seen(source: str) -> None:
    assert list(writes(source))


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "open(path, 'rb', buffering=0)",
        "path.open(newline='', encoding='utf-8')",
        "gzip.open(path)",
        "tarfile.open(path, 'r:')",
        "os.open(folder, os.O_RDONLY)",
        "text.replace('a', 'b')",
        "replace(plan, guard=0)",
        "library.image.open(file, formats=FORMATS)",
        "np.copyto(a, b)",
    ],
)
def test_what_does_not_write_is_left_alone(source: str) -> None:
    assert not list(writes(source))
