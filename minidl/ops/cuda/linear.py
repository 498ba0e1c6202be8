"""Launches of fully connected layers: the table at the top of kernels/linear.cu."""

from __future__ import annotations

from minidl.cards import DEFAULT, card_of
from minidl.ir import How, Op, Takes, Tensor
from minidl.ir.card import Card
from minidl.ops import linear as ops
from minidl.ops.cuda.launch import CppFile, Launch
from minidl.ops.cuda.matrix import UNITS, Destination, Products, launch_product, matrix
from minidl.ops.cuda.operands import matrix_pitch
from minidl.ops.cuda.product import WEIGHT_BYTES, Operand, Problem, Tuning, choose, room
from minidl.ops.cuda.rules import rule
from minidl.ops.target import data_of, of_phase
from minidl.options import Options

FILE = CppFile("linear.cu")


def linear_products(
    precision: str,
    x: Tensor,
    y: Tensor,
    limit: int,
    tuning: Tuning | None,
    card: Card = DEFAULT,
) -> Products:
    """How each of the three products is cut."""
    unit, (samples, inputs), features = UNITS[precision], x.shape, y.shape[1]
    sizes = (samples, features, inputs), (samples, inputs, features), (features, inputs, samples)
    rooms = (
        room(Operand(x.itemsize, True), Operand(WEIGHT_BYTES, True)),
        room(Operand(y.itemsize, True), Operand(WEIGHT_BYTES, False)),
        room(Operand(y.itemsize, False), Operand(x.itemsize, False)),
    )
    forward, dgrad, wgrad = (
        choose(Problem(unit, *size), limit, True, tuning, shared, card)
        for size, shared in zip(sizes, rooms, strict=True)
    )
    return Products(forward, dgrad, wgrad, card.l2)


def _products(op: Op) -> Products:
    products: Products = op.attributes["products"]
    return products


def _how(op: Op, options: Options) -> How:
    limit, card = options.scratch_limit, card_of(options.card)
    products = linear_products(options.precision, *data_of(op), limit, options.tiles, card)
    takes = Takes(tiled=0) if op.phase == "wgrad" else Takes(finishes=True)
    return How({"products": products}, of_phase(op, products.scratch), takes)


@rule(ops.linear_forward, file=FILE, how=_how)
def linear_forward(op: Op) -> list[Launch]:
    x, w, *bias = op.original.reads
    (n, i), f = x.shape, w.shape[0]
    destination = Destination(op.writes[0], matrix_pitch, _first(bias))
    a, b = matrix(x, n, i, i, k_major=True), matrix(w, f, i, i, k_major=True)
    return launch_product(op, _products(op).forward, a, b, destination)


@rule(ops.linear_dgrad, file=FILE, how=_how)
def linear_dgrad(op: Op) -> list[Launch]:
    dy, w = op.original.reads
    (n, f), i = dy.shape, w.shape[1]
    destination = Destination(op.writes[0], matrix_pitch)
    a, b = matrix(dy, n, f, f, k_major=True), matrix(w, i, f, i, k_major=False)
    return launch_product(op, _products(op).dgrad, a, b, destination)


@rule(ops.linear_wgrad, file=FILE, how=_how)
def linear_wgrad(op: Op) -> list[Launch]:
    main = op.original
    dy, x = main.reads
    (n, f), i = dy.shape, x.shape[1]
    destination = Destination(main.writes[0], matrix_pitch)
    a, b = matrix(dy, f, n, f, k_major=False), matrix(x, i, n, i, k_major=False)
    return launch_product(op, _products(op).wgrad, a, b, destination)


def _first(bias: list[Tensor]) -> Tensor | None:
    return bias[0] if bias else None
