"""Write tiny.pth: a small state dict saved by PyTorch itself, in every dtype that is read.

Run where PyTorch is installed:

    python -m tests.interop.make_tiny
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

FILE = Path(__file__).with_name("tiny.pth")


def main() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    state = net.state_dict()
    for i, (name, tensor) in enumerate(state.items()):
        values = torch.arange(tensor.numel()).reshape(tensor.shape) - 3 + 100 * i
        state[name] = values.to(tensor.dtype)
    counted = torch.arange(6).reshape(2, 3)
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int16):
        state[str(dtype)] = counted.to(dtype)
    state["turned"] = counted.float().t()
    state["parameter"] = nn.Parameter(counted.float()[1])
    state["number"] = torch.tensor(7)
    torch.save({"epoch": 3, "lr": 0.1, "state_dict": state, "done": [True, None, "word"]}, FILE)


if __name__ == "__main__":
    main()
