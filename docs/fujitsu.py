"""What makes up `fujitsu2016`: the table of decision 4."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import minidl as dl
from docs.plans import OPTIMIZER, PUBLISHED
from docs.rows import table
from minidl import models
from minidl.compiler.buffers import Sharing, gradients_over_data
from minidl.compiler.lower import lower_training
from minidl.compiler.modes import MODES, Mode
from minidl.compiler.place import Block, max_load
from minidl.compiler.planner import make_plan
from minidl.devices.known import target_of
from minidl.ir import StepGraph, mib
from minidl.options import Options
from minidl.placed.graph import Subject

ON_CUDA = Options(device="cuda")


def fujitsu() -> str:
    """What makes up `fujitsu2016`, and the same with every weight gradient kept."""
    fujitsu2016 = MODES["fujitsu2016"]
    kept = replace(fujitsu2016, name="kept", share=weight_gradients_kept)
    rows = []
    for model, batch, reference in (("vgg16", 128, 9025), ("alexnet", 256, 1418)):
        sizes = [size(model, batch, mode) for mode in (fujitsu2016, kept)]
        numbers = (*map(mib, sizes), *_masks(model, batch), _alone(model, batch), reference)
        masks = sum(numbers[2:4])
        cells = (*numbers[:-1], numbers[1] - masks - numbers[4], numbers[-1])
        rows.append((f"{model} b{batch}", *(f"{n:,.1f}" for n in cells)))
    head = (
        "", "as built", "all dW kept", "argmax", "signs at the peak", "dX beside X",
        "kept, less these", "reference",
    )  # fmt: skip
    return table(head, rows)


def weight_gradients_kept(graph: StepGraph) -> Sharing:
    """`fujitsu2016`, but with bytes of its own for each weight gradient."""
    sharing = gradients_over_data(graph)
    for buffer in sharing.buffers():
        buffer.kept |= any(t.kind == "weight_gradient" for t in buffer.members)
    return sharing


def _rewritten(model: str, batch: int) -> StepGraph:
    found = graph(model, batch)
    for rewrite in MODES["fujitsu2016"].passes:
        found = rewrite(found)
    return found


def _masks(model: str, batch: int) -> tuple[float, float]:
    """MiB of the argmaxes, and of the bytes that come and go once weight gradients are kept."""
    sharing = weight_gradients_kept(_rewritten(model, batch))
    masks = (b.nbytes for b in sharing.buffers() if b.kept and b.members[0].kind == "mask")
    lives = [
        (b.nbytes, [sharing.alive[t] for t in b.members]) for b in sharing.buffers() if not b.kept
    ]
    blocks = [Block(-(-n // 256) * 256, life) for n, (life,) in lives]
    return mib(sum(masks)), mib(max_load(blocks))


def _alone(model: str, batch: int) -> float:
    """MiB of the gradients that could not lie over data."""
    sharing = gradients_over_data(_rewritten(model, batch))
    kinds = ((b, {t.kind for t in b.members}) for b in sharing.buffers())
    return mib(sum(b.nbytes for b, kind in kinds if kind == {"gradient"}))


@cache
def graph(model: str, batch: int) -> StepGraph:
    """The step for cuda in float32, before any rewrite."""
    how = dl.CrossEntropy(), OPTIMIZER, batch, ON_CUDA, target_of(ON_CUDA)
    return lower_training(models.MODELS[model](), *how)


@cache
def size(model: str, batch: int, mode: Mode) -> int:
    """Arena bytes in a mode that need not be a published one."""
    found = MODES.setdefault(mode.name, mode)
    subject = Subject(model, batch, (224, 224, 3))
    try:
        return make_plan(
            graph(model, batch), subject, replace(ON_CUDA, memory=mode.name)
        ).arena_bytes
    finally:
        if found is mode and mode.name not in PUBLISHED:
            del MODES[mode.name]
