"""Systems that minidl was made for, and the others, which are refused in one line."""

from __future__ import annotations

import platform
import sys

import pytest

import minidl as dl
from minidl.ir.platforms import require_platform
from tests.cli.runs import failed

KNOWN = [
    ("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64"),
    ("win32", "AMD64"), ("win32", "ARM64"),
]  # fmt: skip
OTHERS = [
    ("freebsd14", "amd64", "little", 2**63), ("linux", "riscv64", "little", 2**63),
    ("linux", "s390x", "big", 2**63), ("linux", "x86_64", "little", 2**31),
    ("emscripten", "wasm32", "little", 2**31), ("linux", "", "little", 2**63),
]  # fmt: skip


def become(patch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    patch.setattr(sys, "platform", system)
    patch.setattr(platform, "machine", lambda: machine)


@pytest.mark.parametrize(("system", "machine"), KNOWN)
def test_these_are_taken(system: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        become(patch, system, machine)
        require_platform()


@pytest.mark.parametrize(("system", "machine", "order", "largest"), OTHERS)
def test_others_are_refused(
    system: str, machine: str, order: str, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        become(patch, system, machine)
        patch.setattr(sys, "byteorder", order)
        patch.setattr(sys, "maxsize", largest - 1)
        with pytest.raises(dl.MinidlError, match="runs on Linux, macOS, Windows") as caught:
            require_platform()
    assert f"this is {system} on {machine}" in str(caught.value)


def test_commands_and_plans_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = dl.models.lenet()
    with monkeypatch.context() as patch:
        patch.setattr(platform, "machine", lambda: "riscv64")
        with pytest.raises(dl.MinidlError, match="riscv64"):
            dl.plan(net, 1)
        status, error = failed(capsys, "about")
    assert (status, "riscv64" in error) == (1, True)
