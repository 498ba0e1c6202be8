"""The CPU device as a target: how NumPy's functions run ops, one rule beside each function.

A function without a rule runs as its layer states it, with no workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from minidl.ir import How, Op, Target, Tensor
from minidl.ir.op import Function
from minidl.options import Options

HowRule = Callable[[Op, Options], How]

RULES: dict[Function, HowRule] = {}


def on_host(*functions: Function) -> Callable[[HowRule], HowRule]:
    """State how NumPy runs ops of these functions: from an op as its layer states it, and the
    step's options, to attributes, workspace and what the function takes in."""

    def add(rule: HowRule) -> HowRule:
        for function in functions:
            RULES[function] = rule
        return rule

    return add


PRODUCTS = ("forward", "dgrad", "wgrad")
"""Phases of the three ops that a layer of products has, in the order of triples about them."""

Each = TypeVar("Each")


def of_phase(op: Op, each: tuple[Each, Each, Each]) -> Each:
    """What a triple has for the op."""
    return each[PRODUCTS.index(op.phase)]


def data_of(op: Op) -> tuple[Tensor, Tensor]:
    """x and y of a layer of products, or their gradients, from any of its three ops as the layer
    states it: y of x and w, dx of dy and w, dw of dy and x."""
    return of_phase(
        op,
        ((op.reads[0], op.writes[0]), (op.writes[0], op.reads[0]), (op.reads[1], op.reads[0])),
    )


def host_target(options: Options) -> Target:
    """How ops run on the CPU device."""

    def how(op: Op) -> How:
        rule = RULES.get(op.function)
        return How() if rule is None else rule(op, options)

    return how
