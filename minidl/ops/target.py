"""The CPU device as a target: how NumPy's functions run ops, one rule beside each function.

A function without a rule runs as its layer states it, with no workspace.
"""

from __future__ import annotations

from collections.abc import Callable

from minidl.ir import How, Op, Target
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


def host_target(options: Options) -> Target:
    """How ops run on the CPU device."""

    def how(op: Op) -> How:
        rule = RULES.get(op.function)
        return How() if rule is None else rule(op, options)

    return how
