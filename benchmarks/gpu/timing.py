"""Milliseconds of calls on a device, several of them interleaved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[], None]


def milliseconds(device: Any, call: Call, repeats: int) -> float:
    """Of one call, from `repeats` of them behind each other, the device waited for at the end."""
    device.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    device.synchronize()
    return (time.perf_counter() - start) * 1e3 / repeats


def in_a_graph(device: Any, call: Call, launches: int, repeats: int = 3) -> float:
    """Milliseconds of one call out of `launches` in a CUDA graph that is launched `repeats` times:
    Python takes microseconds for a launch, longer than many ops take."""
    run = device.whole([call] * launches)
    with device.running():
        run()  # the first run is eager, the second captures
        run()
        return milliseconds(device, run, repeats) / launches


def interleaved(
    devices: Mapping[str, Any], calls: Mapping[str, Call], rounds: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Median, least and most of several rounds, in each of which every call has its turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            spent = milliseconds(devices[name], call, repeats if turn else max(1, repeats // 3))
            if turn:
                times[name].append(spent)
    return {
        name: {"ms": statistics.median(t), "ms_min": min(t), "ms_max": max(t)}
        for name, t in times.items()
    }


class TorchClock:
    """PyTorch's device, as far as timing needs it."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def synchronize(self) -> None:
        if self.torch.cuda.is_available():
            self.torch.cuda.synchronize()
