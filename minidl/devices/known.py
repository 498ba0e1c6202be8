"""The devices that there are, as far as planning has to know them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from minidl.cards import card_of
from minidl.devices.cpu import CpuDevice
from minidl.devices.device import Device
from minidl.ir import ArgumentError, Op, Target
from minidl.ir.card import Card
from minidl.ops.cuda import Limits, check_launches, cuda_target
from minidl.ops.target import host_target
from minidl.options import Options


@dataclass(frozen=True)
class Kind:
    """One kind of device."""

    name: str
    open: Callable[[], Device]
    target: Callable[[Options], Target]
    """How it runs ops, by the options of a step."""
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Precisions that it does not have: what each is, and the way out."""
    overlaps_copies: bool = False
    """Whether the next batch can be copied to it while a step runs."""
    card: Callable[[Card | None], Card | None] = lambda _: None
    """The card to plan for, by the one that was asked for."""
    check: Callable[[Iterable[Op], Options], None] = lambda _ops, _options: None
    """LimitError where it cannot launch an op."""

    def conflicts(self, options: Options) -> Iterable[ArgumentError]:
        """What it would have to do and cannot."""
        if options.precision in self.refused:
            what, way_out = self.refused[options.precision]
            yield ArgumentError(f"precision {options.precision!r} is {what}", way_out)
        if options.prefetch and not self.overlaps_copies:
            out = f"leave it out on {self.name}"
            yield ArgumentError("prefetch overlaps copies to a GPU with its work", out)


def _open_cuda() -> Device:
    from minidl.devices.cuda import CudaDevice

    return CudaDevice()


def _check_launches(ops: Iterable[Op], options: Options) -> None:
    check_launches(ops, Limits.of(card_of(options.card)))


TENSOR_CORES = "a mode of CUDA's tensor cores", "use float32 on cpu"

DEVICES = {
    kind.name: kind
    for kind in (
        Kind("cpu", CpuDevice, host_target, {"tf32": TENSOR_CORES, "bf16": TENSOR_CORES}),
        Kind(
            "cuda",
            _open_cuda,
            cuda_target,
            {"float64": ("for the CPU device", "use float32 on cuda")},
            overlaps_copies=True,
            card=card_of,
            check=_check_launches,
        ),
    )
}


OF_CARDS = "cuda"
"""The device that `minidl.cards` are of: who names a card means it."""


def add_device(kind: Kind) -> None:
    """Let plans be made for one more kind of device; ArgumentError where its name is taken."""
    if kind.name in DEVICES:
        raise ArgumentError(f"there is a device {kind.name!r} already", "call it another name")
    DEVICES[kind.name] = kind


def require_device(name: str) -> None:
    """ArgumentError names the ones there are."""
    if name not in DEVICES:
        raise ArgumentError(f"unknown device {name!r}", f"choose {' or '.join(DEVICES)}")


def target_of(options: Options) -> Target:
    """How the device of the options runs ops."""
    return DEVICES[options.device].target(options)


def device_of(device: str | Device) -> Device:
    """The device that a name stands for; a device is itself."""
    if not isinstance(device, str):
        return device
    require_device(device)
    return DEVICES[device].open()
