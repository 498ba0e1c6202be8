"""Bytes that are not there."""

from __future__ import annotations

import pytest

import minidl as dl
from minidl.devices.cpu import CpuDevice
from tests.docs.provoked.cases import network, raises


@raises("### The arena is too large")
def too_large(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(CpuDevice, "available", lambda self: 2**17)
    return dl.compile(network(), batch=64)


@raises("### The budget is too small")
def budget(_: pytest.MonkeyPatch) -> object:
    return dl.compile(network(), batch=64, budget="64KiB")


@raises("### A budget in another memory mode")
def budget_in_naive(_: pytest.MonkeyPatch) -> object:
    return dl.plan(network(), batch=4, memory="naive", budget="1GiB")


@raises("### A size that is none")
def size(_: pytest.MonkeyPatch) -> object:
    return dl.plan(network(), batch=4, budget="12 gigs")
