"""Functors of optimizers, with their constants."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Op
from minidl.ops import optim as ops
from minidl.ops.cuda.launch import CppFile
from minidl.ops.cuda.rules import functor

FILE = CppFile("optim.cu")

functor(ops.sgd, ops.sgd_momentum, ops.sgd_step, ops.sgd_nesterov, file=FILE)


def _moments(op: Op) -> tuple[np.generic, ...]:
    beta1, beta2 = op.attributes["betas"]
    decay = op.attributes["weight_decay"]
    return tuple(np.float32(value) for value in (1 - beta1, beta2, 1 - beta2, decay))


def _step(op: Op) -> tuple[np.generic, ...]:
    logs = (math.log(beta) if beta else -math.inf for beta in op.attributes["betas"])
    rest = op.attributes["eps"], op.attributes["decoupled_decay"]
    return tuple(np.float32(value) for value in (*logs, *rest))


functor(ops.adam_moments, file=FILE, constants=_moments)
functor(ops.adam_step, file=FILE, constants=_step)
