"""Ema: an exponential moving average of the weights, kept on the host."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.ir import Array
from minidl.ir.arrays import require_all_unmasked
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT, Reader, real
from minidl.runtime.step import Step

MOST = 0.05
"""Of the first weights, that may be left in an average unsaid."""


DECAY: dict[str, Reader] = {"decay": real(0, 1, below=True), "every": COUNT}


@called("write Ema(0.9999, every=1): the step is the trainer's", DECAY, model="")
class Ema:
    """a = decay a + (1 - decay) w after every `every` updates, a = w at first (Polyak and Juditsky
    1992; torchvision's --model-ema).

    Over weights and running statistics by PyTorch's names and layouts, in their own dtype;
    integers are copied. The device holds no byte of it.
    """

    def __init__(self, decay: float = 0.9999, *, every: int = 1) -> None:
        self.decay, self.every = decay, every
        self.arrays: dict[str, Array] = {}
        """Empty before the first update."""

    @never_raises
    def __repr__(self) -> str:
        arrays = f"{len(self.arrays)} arrays" if self.arrays else "nothing yet"
        return f"<Ema, decay {self.decay:.6g}, every {self.every}: {arrays}>"

    @classmethod
    @called(readers={**DECAY, "batch": COUNT, "epochs": COUNT})
    def for_run(cls, *, batch: int, epochs: int, decay: float = 0.99998, every: int = 32) -> Ema:
        """torchvision's: `decay` holds where batch times `every` is `epochs`, and 1 - decay grows
        in proportion, to 1 at most."""
        return cls(1 - min(1.0, (1 - decay) * (batch * every / epochs)), every=every)

    def warn_short(self, updates: int) -> None:
        """A UserWarning with the figures where a run of so many updates leaves more than `MOST` of
        the first weights in the average: it then says little of the trained ones."""
        count = updates // self.every
        left = self.decay ** max(0, count - 1)
        if count and left <= MOST:
            return
        worth = f"it is still {left:.1%} the first weights" if count else "there is none"
        warnings.warn(
            f"Ema: the average moves with one in {self.every} of {updates} updates, {count} in "
            f"all: at decay={self.decay:.6g} {worth}; lower decay or every helps",
            stacklevel=4,
        )

    def update(self, step: Step) -> None:
        """Take in the step's weights."""
        now = step.state_dict()
        if not self.arrays:
            self.arrays = now
            return
        for name, mean in self.arrays.items():
            if np.issubdtype(mean.dtype, np.floating):
                mean *= self.decay
                mean += (1 - self.decay) * now[name]
            else:
                mean[...] = now[name]

    def __getstate__(self) -> dict[str, Any]:
        """Copies have arrays of their own, which updates write into."""
        return {**vars(self), "arrays": {name: a.copy() for name, a in self.arrays.items()}}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Go on from arrays that another Ema had."""
        require_all_unmasked(arrays)
        self.arrays = {name: np.array(array) for name, array in arrays.items()}

    @contextmanager
    def swapped(self, step: Step) -> Iterator[Step]:
        """The step with averaged weights; its own come back to the bit, whatever happens."""
        own = step.state_dict()
        if self.arrays:
            step.load_state_dict(self.arrays)
        try:
            yield step
        finally:
            step.load_state_dict(own)
