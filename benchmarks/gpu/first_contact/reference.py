"""A step on the device against the same step in float64 on the host: logits, loss, gradients.

Both start from the same seed, so from the same weights, and drop the same elements; the gradients
are read out of the momentum, which after a first step is the gradient itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.gpu.network import Batch, Case, batch_of
from benchmarks.gpu.rows import Row
from minidl.ir import Array
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16


@dataclass(frozen=True)
class Bounds:
    """Of relative errors. Rounding moves maxima and signs, so that in bf16 few gradients of a deep
    network are close; one that is wrong, or is not there, is off by itself at least."""

    output: float
    """Of the logits, and of the loss."""
    together: float
    """Of all gradients as one vector."""
    worst: float
    """Of the gradient of any one variable."""


BOUNDS = {
    "float32": Bounds(1e-4, 1e-3, 1e-2),
    "tf32": Bounds(2e-2, 0.1, 0.3),
    "bf16": Bounds(0.1, 0.7, 0.95),
}
ROUGH = {"float32": Bounds(1e-3, 0.3, 0.5), "bf16": Bounds(0.3, math.inf, math.inf)}
"""Of networks in which rounding grows: of ResNet-50 on two images the gradients in float32 on the
CPU are 3 % away from those in float64. NaN is over every bound."""
SMALL = 1e-3
"""A gradient below this share of all of them together is judged by that share."""
Outcome = tuple[Array, float, dict[str, Array]]


def compare(device: Any, case: Case, precision: str) -> Row:
    exact = _exact(case)
    found = outcome(case, device=device, precision=precision)
    errors = gradient_errors(found[2], exact[2])
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    together = relative(_vector(found[2]), _vector(exact[2]))
    bounds = (BOUNDS if case.smooth else ROUGH)[precision]
    row: Row = {
        "logits": relative(found[0], exact[0]),
        "loss": abs(found[1] - exact[1]) / abs(exact[1]),
        "gradients": together,
        "worst": errors[worst],
        "of": worst,
    }
    limits = {"logits": bounds.output, "loss": bounds.output}
    limits |= {"gradients": bounds.together, "worst": bounds.worst}
    wrong = [
        f"{name} off by {row[name]:.2g}, over {limit}"
        for name, limit in limits.items()
        if not row[name] <= limit
    ]
    return row | ({"wrong": f"{'; '.join(wrong)} (worst: {worst})"} if wrong else {})


def _vector(gradients: dict[str, Array]) -> Array:
    return np.concatenate([gradients[name].ravel() for name in sorted(gradients)])


@cache
def _exact(case: Case) -> Outcome:
    return outcome(case, device="cpu", precision="float64")


def optimizer() -> dl.Optimizer:
    return dl.SGD(lr=1e-3, momentum=0.9)


def outcome(case: Case, **how: Any) -> Outcome:
    """Logits before the step, its loss, and the gradient of each variable."""
    network = case.build()
    images, labels = _representable(batch_of(network, case.reference_batch))
    step = dl.compile(network, len(images), optimizer=optimizer(), **how)
    logits = step.predict(images)
    loss = step(images, labels)
    momenta = [name for name in step.variables if name.endswith(".momentum")]
    return (
        logits,
        loss,
        {name.removesuffix(".momentum"): np.array(step.array(name)) for name in momenta},
    )


def _representable(data: Batch) -> Batch:
    """Images that bf16 has too, so that every precision sees the same."""
    images, labels = data
    if images.dtype == np.uint8:
        return images, labels
    return from_bfloat16(to_bfloat16(images)), labels


def relative(found: Array, exact: Array) -> float:
    difference = found.astype(np.float64) - exact
    return float(np.linalg.norm(difference.ravel()) / np.linalg.norm(exact.ravel()))


def gradient_errors(found: dict[str, Array], exact: dict[str, Array]) -> dict[str, float]:
    """Of each variable, relative to its own norm and a little of all gradients' together."""
    norms = {name: float(np.linalg.norm(g.ravel())) for name, g in exact.items()}
    least = SMALL * float(np.linalg.norm(list(norms.values())))
    return {
        name: float(np.linalg.norm((found[name] - g).ravel())) / max(norms[name], least)
        for name, g in exact.items()
    }
