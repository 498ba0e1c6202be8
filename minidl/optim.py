"""Optimizers: update ops of the step graph, in PyTorch's semantics.

Each splits where its algorithm allows: one elementwise op takes the weight gradient into the
optimizer's state, a second one steps the weights. The first can then run in wgrad's epilogue
while dgrad still has to read the weights.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from minidl.ir import ArgumentError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import Reader, real, several
from minidl.ir.site import filled
from minidl.ops.optim import adam_moments, adam_step, sgd, sgd_momentum, sgd_nesterov, sgd_step

RATE = real(0)
BETAS = several(real(0, 1, below=True), 2, "write betas=(0.9, 0.999)")
OF_SGD: dict[str, Reader] = {"lr": RATE, "momentum": RATE, "weight_decay": RATE}
OF_ADAM: dict[str, Reader] = {"lr": RATE, "betas": BETAS, "eps": RATE, "weight_decay": RATE}


def require_rate(value: Any) -> Any:
    """The rate; ArgumentError unless it is a finite number of at least 0."""
    return RATE.take(value, "learning_rate")


@dataclass(frozen=True)
class Optimizer:
    """What every optimizer has; `lr` is the first value of a state that a step only reads."""

    lr: float = 0.01

    def lower(self, site: Site, w: Tensor, dw: Tensor, name: str) -> None:
        """Emit the update of parameter `w`, called `name` at `site`, by its gradient `dw`."""
        raise NotImplementedError

    def rate(self, site: Site) -> Tensor:
        """The learning rate: shape (), the same tensor for every parameter."""
        require_rate(self.lr)
        return site.shared("learning_rate", site.lowering.master, filled(self.lr))


def _update(
    site: Site, function: Any, writes: list[Tensor], reads: list[Tensor], **how: Any
) -> None:
    site.update(
        function,
        writes=writes,
        reads=[*writes, *reads],
        attributes=how,
        flops=4 * writes[0].size,
        elementwise=True,
    )


WORDS = {"params": "", "learning_rate": "lr", "epsilon": "eps"}
"""Other frameworks' keywords."""


@called(
    "write SGD(0.1, 0.9, weight_decay=1e-4): there is no dampening, and the weights are the "
    "network's",
    OF_SGD,
    dampening="",
    **WORDS,
)
@dataclass(frozen=True)
class SGD(Optimizer):
    """g = dw + weight_decay w;  v = momentum v + g;  w = w - lr v  (Nesterov: lr (g + momentum v)).

    PyTorch's form of momentum (Sutskever et al. 2013 differ by where lr stands), v from zero.
    """

    momentum: float = 0.0
    _: KW_ONLY
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ArgumentError("SGD: nesterov=True needs a momentum", "write SGD(0.1, 0.9, ...)")

    def lower(self, site: Site, w: Tensor, dw: Tensor, name: str) -> None:
        lr, decay = self.rate(site), self.weight_decay
        if not self.momentum:
            _update(site, sgd, [w], [dw, lr], weight_decay=decay)
            return
        v = site.state(f"{name}.momentum", w.shape, saved=False)
        how = {"momentum": self.momentum, "weight_decay": decay}
        if self.nesterov:
            _update(site, sgd_nesterov, [w, v], [dw, lr], **how)
            return
        _update(site, sgd_momentum, [v], [w, dw], **how)
        _update(site, sgd_step, [w], [v, lr])


@called(
    "write Adam(1e-3, (0.9, 0.999)), the weights are the network's", OF_ADAM, amsgrad="", **WORDS
)
@dataclass(frozen=True)
class Adam(Optimizer):
    """m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
    w = w - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps),  g = dw + weight_decay w.

    Kingma and Ba 2015; weight decay as L2 penalty, PyTorch's Adam.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    decoupled = False

    def lower(self, site: Site, w: Tensor, dw: Tensor, name: str) -> None:
        m = site.state(f"{name}.exp_avg", w.shape, saved=False)
        v = site.state(f"{name}.exp_avg_sq", w.shape, saved=False)
        penalty, decay = self.weight_decay, 0.0
        if self.decoupled:
            penalty, decay = decay, penalty
        reads = [w, dw] if penalty else [dw]
        _update(site, adam_moments, [m, v], reads, betas=self.betas, weight_decay=penalty)
        reads = [m, v, self.rate(site), site.update_counter()]
        _update(site, adam_step, [w], reads, betas=self.betas, eps=self.eps, decoupled_decay=decay)


@called(
    "write AdamW(1e-3, (0.9, 0.999)), the weights are the network's", OF_ADAM, amsgrad="", **WORDS
)
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled decay: w = w (1 - lr weight_decay) first (Loshchilov and Hutter 2019)."""

    weight_decay: float = 1e-2
    decoupled = True
