"""Between gradients and updates: sums over several calls, clipping by the norm of all gradients.

A step that accumulates over k calls is two graphs with the same variables: in k - 1 calls the
gradients are added to persistent sums, in the last one too, and then the optimizer takes the sums.
"""

from __future__ import annotations

from dataclasses import replace

from minidl.ir import Lowering, Op, Tensor, Trained, part_of
from minidl.ir.site import zeros
from minidl.ops.counters import count_micro_batch
from minidl.ops.gradients import accumulate_gradient, clip_gradient, gradient_norm, sum_of_squares
from minidl.options import Options


def between_gradients_and_updates(
    lowering: Lowering, trained: list[Trained], options: Options, last: bool
) -> tuple[list[Op], list[Trained]]:
    """The ops from gradients to what an optimizer takes, and that.

    g = mean of the gradients of `accumulate` calls, then g = g min(1, clip_norm / (|g| + 1e-6)).
    |g| is the norm of all weight gradients together, sqrt(sum g^2) (Pascanu et al. 2013; PyTorch's
    clip_grad_norm_). last: whether the call makes the update; the others end with the sums.
    """
    ops: list[Op] = []
    if options.accumulate > 1:
        ops, trained = _accumulated(lowering, trained, options.accumulate)
    if options.clip_norm is not None and last:
        clips, trained = _clipped(lowering, trained, options.clip_norm)
        ops += clips
    return ops, trained


# -- accumulation ----------------------------------------------------------------------------------


def _accumulated(
    lowering: Lowering, trained: list[Trained], calls: int
) -> tuple[list[Op], list[Trained]]:
    """Each gradient added to a sum that outlives the call, which stands for it from then on."""
    ops, summed = [], []
    call, how = lowering.site("", None).call_counter(), {"calls": calls}
    for p in trained:
        site = lowering.site(p.layer, ("optimizer", p.w))
        total = site.state(f"{p.name}.gradient_sum", p.w.shape, saved=False)
        site.update(
            accumulate_gradient,
            writes=[total],
            reads=[total, p.gradient, call],
            attributes=how,
            flops=2 * total.size,
            elementwise=True,
        )
        ops += site.forward_ops
        summed.append(replace(p, gradient=total))
    ops.append(Op(count_micro_batch, "", "other", (call,), (call,), attributes=how, flops=1))
    return ops, summed


# -- clipping --------------------------------------------------------------------------------------


def _clipped(
    lowering: Lowering, trained: list[Trained], clip_norm: float
) -> tuple[list[Op], list[Trained]]:
    """Each gradient times a coefficient of the norm of all of them, which are kept until then.

    The squares come as soon as a gradient exists, last layer first.
    """
    ops: list[Op] = []
    squares = Tensor("squares", (len(trained),), lowering.master, "weight_gradient")
    for i, p in enumerate(reversed(trained)):
        ops += _square(lowering, p, part_of(squares, 0, i, i + 1, f"d:{p.w.name}.square"))
    site = lowering.site("", None)
    norm = site.shared("gradient_norm", lowering.master, zeros)
    coefficient = Tensor("clip_coefficient", (), lowering.master, "weight_gradient")
    site.update(
        gradient_norm,
        writes=[norm, coefficient],
        reads=[squares],
        attributes={"clip_norm": clip_norm},
        flops=2 * len(trained),
    )
    ops += site.forward_ops
    clipped = []
    for p in trained:
        site = lowering.site(p.layer, ("optimizer", p.w))
        gradient = Tensor(f"d:{p.w.name}.clipped", p.w.shape, p.w.dtype, "weight_gradient")
        site.update(
            clip_gradient,
            writes=[gradient],
            reads=[p.gradient, coefficient],
            in_place=((0, 0),),
            flops=gradient.size,
        )
        ops += site.forward_ops
        clipped.append(replace(p, gradient=gradient))
    return ops, clipped


def _square(lowering: Lowering, p: Trained, square: Tensor) -> list[Op]:
    site = lowering.site(p.layer, ("optimizer", p.w))
    site.update(sum_of_squares, writes=[square], reads=[p.gradient], flops=2 * p.w.size)
    return site.forward_ops
