"""One table of cases drives every check of a layer: shapes, values, gradients, bytes, refusals.

A test file of a layer is its references, `CASES`, `BAD`, and:

    @each_check(CASES)
    def test_layer(check: Check, case: Case) -> None:
        check(case)

    @each_refusal(BAD)
    def test_refusal(case: BadCase) -> None:
        refuses(case)

Inputs are fresh in every session; MINIDL_TEST_SEED repeats one.
"""

from __future__ import annotations

import inspect
import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from minidl.ir import ArgumentError, Array, Lowering, Op, Shape, ShapeError, Site, Tensor
from minidl.layers.base import Layer
from minidl.ops import host
from minidl.ops.host import CHUNK, HOST_LANES
from minidl.ops.target import host_target
from minidl.options import SCRATCH_LIMIT, Options

SEED = int(os.environ.get("MINIDL_TEST_SEED", secrets.randbits(32)))

NAN_BYTES = 0xFF
"""Every float that consists of this byte is a NaN."""

STEP = 1e-5
"""Half the distance of a central difference."""

SAMPLES = 48
"""Elements of one tensor whose partial derivative is checked; all, where it has no more."""

Draw = Callable[[np.random.Generator, Sequence[Shape]], Sequence[Array]]
Check = Callable[["Case"], None]


def spread(generator: np.random.Generator, shape: Shape) -> Array:
    """Values around [-2, 2] in random order, no two as close as a central difference, none as close
    to 0: whatever has its kinks at 0 or where two inputs are equal is smooth around them."""
    size = int(np.prod(shape))
    even = np.arange(size) - size // 2 + 0.5 + generator.uniform(-0.2, 0.2, size)
    return generator.permutation(4 * even / size).reshape(shape)


def spread_all(generator: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    return [spread(generator, shape) for shape in shapes]


@dataclass(frozen=True)
class Case:
    """One layer on one set of input shapes (batch included, images NHWC)."""

    id: str
    layer: Callable[[], Layer]
    shapes: tuple[Shape, ...]
    reference: Callable[..., Any]
    """f(inputs..., **variables) -> output in float64, written as plainly as possible. It names the
    parameters and states that it reads: `weight`, `bias`, ...; its other arguments are inputs."""
    draw: Draw = spread_all
    """Makes the inputs; integers stay integers."""
    differentiable: tuple[int, ...] | None = None
    """Inputs that have a gradient; None: every input of floats."""
    training: bool = True
    scratch_limit: int = SCRATCH_LIMIT
    float32_error: float = 2e-6
    """Bound of ||y - reference|| / ||reference|| in float32."""

    def generator(self) -> np.random.Generator:
        print(f"MINIDL_TEST_SEED={SEED}")  # pytest shows it where a check fails
        return np.random.default_rng([SEED, zlib.crc32(self.id.encode())])


@dataclass(frozen=True)
class BadCase:
    """What a layer must refuse, and words that the error must say."""

    id: str
    layer: Callable[[], Layer]
    shapes: tuple[Shape, ...]
    message: str


# -- running one layer without a compiler -------------------------------------------------------


class Memory(dict[Tensor, Array]):
    """An array for each tensor, filled with garbage; views share their storage's bytes."""

    def __init__(self, garbage: int = NAN_BYTES) -> None:
        super().__init__()
        self.garbage = garbage

    def __missing__(self, tensor: Tensor) -> Array:
        if tensor.view_of is not None:
            self[tensor] = self[tensor.view_of].reshape(tensor.shape)
        else:
            raw = np.full(tensor.nbytes, self.garbage, np.uint8)
            self[tensor] = raw.view(tensor.dtype).reshape(tensor.shape)
        return self[tensor]


def run_op(op: Op, memory: Memory, chunk: int = CHUNK) -> None:
    """Run an op as a device does: see `Op`."""
    if op.contract.elementwise:
        arrays, shape = [memory[t] for t in op.operands], op.writes[0].shape
        flat = [a.reshape(-1) if a.shape == shape else a for a in arrays]
        for start in range(0, op.writes[0].size, chunk):
            part = slice(start, start + chunk)
            cut = (f[part] if a.shape == shape else f for f, a in zip(flat, arrays, strict=True))
            op.function(*cut, **op.attributes)
        return
    keywords = dict(op.attributes)
    if op.takes.tiled is not None:
        target = memory[op.writes[op.takes.tiled]]
        keywords["store"] = lambda index, tile: np.copyto(target[index], tile)
    op.function(*(memory[t] for t in op.operands), **keywords)


@dataclass(frozen=True)
class Bench:
    """A lowered case and the values of its inputs and variables, in one precision."""

    case: Case
    lowering: Lowering
    inputs: tuple[Tensor, ...]
    output: Tensor
    values: dict[Tensor, Array]
    arriving: Array
    """dLoss / doutput; a scalar output is the loss itself."""

    @staticmethod
    def of(case: Case, dtype: str = "float64") -> Bench:
        generator = case.generator()
        lowering = Lowering(
            case.shapes[0][0],
            dtype=dtype,
            training=case.training,
            target=host_target(Options(scratch_limit=case.scratch_limit)),
            seed=int(generator.integers(2**63)),
        )
        arrays = [_cast(array, dtype) for array in case.draw(generator, case.shapes)]
        inputs = tuple(
            Tensor(f"x{i}", a.shape, str(a.dtype), "activation") for i, a in enumerate(arrays)
        )
        output = case.layer().apply(lowering, "layer", *inputs)
        values = dict(zip(inputs, arrays, strict=True)) | _initialised(lowering, generator)
        drawn = generator.normal(size=output.shape) if output.shape else np.ones(())
        return Bench(case, lowering, inputs, output, values, _cast(drawn, dtype))

    @property
    def site(self) -> Site:
        (site,) = self.lowering.sites
        return site

    @property
    def differentiable(self) -> list[Tensor]:
        """Inputs and parameters that must have a gradient."""
        chosen = self.case.differentiable
        floats = (i for i, t in enumerate(self.inputs) if t.dtype.startswith("float"))
        inputs = [self.inputs[i] for i in (floats if chosen is None else chosen)]
        return inputs + [t for t in self.values if t.kind == "parameter"]

    def forward(self, garbage: int = NAN_BYTES, chunk: int = CHUNK) -> Memory:
        memory = Memory(garbage)
        for tensor, value in self.values.items():
            memory[tensor][...] = value
        for op in self.site.forward_ops:
            run_op(op, memory, chunk)
        return memory

    def backward(self, memory: Memory, chunk: int = CHUNK) -> Memory:
        memory[self.site.gradient(self.output)][...] = self.arriving
        for op in self.site.backward_ops:
            run_op(op, memory, chunk)
        return memory

    def loss(self, tensor: Tensor, value: Array) -> float:
        """<dy, y> with another value of one input or parameter."""
        memory = Bench.forward(self.with_value(tensor, value))
        return float(np.vdot(self.arriving, memory[self.output]))

    def with_value(self, tensor: Tensor, value: Array) -> Bench:
        values = self.values | {tensor: value}
        return Bench(self.case, self.lowering, self.inputs, self.output, values, self.arriving)

    def expected(self) -> Array:
        """The reference's output for the same inputs and variables."""
        named = {name: v.tensor for (_, name), v in self.lowering.variables.items()}
        names = inspect.signature(self.case.reference).parameters
        keywords = {n: _cast(self.values[t], "float64") for n, t in named.items() if n in names}
        inputs = (_cast(self.values[t], "float64") for t in self.inputs)
        return _cast(self.case.reference(*inputs, **keywords), "float64")


def _cast(values: Any, dtype: str) -> Array:
    array: Array = np.asarray(values)
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _initialised(lowering: Lowering, generator: np.random.Generator) -> dict[Tensor, Array]:
    """Initial values, parameters moved a little so that no two are equal."""
    values = {}
    for variable in lowering.variables.values():
        tensor = variable.tensor
        value = np.asarray(variable.initial(generator, tensor.shape))
        assert value.shape == tensor.shape
        if tensor.kind == "parameter":
            value = value + 0.1 * generator.normal(size=tensor.shape)
        values[tensor] = value.astype(tensor.dtype)
    return values


# -- the checks ------------------------------------------------------------------------------------


def shape_rule(case: Case) -> None:
    bench = Bench.of(case)
    assert case.layer().output_shape(*case.shapes) == bench.output.shape


def forward_float64(case: Case) -> None:
    bench = Bench.of(case)
    y = bench.forward()[bench.output]
    np.testing.assert_allclose(y, bench.expected(), rtol=1e-10, atol=1e-10)


def forward_float32(case: Case) -> None:
    bench = Bench.of(case, "float32")
    y, expected = bench.forward()[bench.output], bench.expected()
    assert y.dtype == np.float32
    error = np.linalg.norm((y - expected).ravel())
    assert error <= case.float32_error * np.linalg.norm(expected.ravel())


def gradient_along_a_line(case: Case) -> None:
    """<gradient, v> against the central difference along a random v of +1 and -1."""
    bench = Bench.of(case)
    generator, memory = case.generator(), bench.backward(bench.forward())
    for t in bench.differentiable:
        along = generator.choice([-1.0, 1.0], t.shape)
        found = float(np.vdot(along, memory[bench.site.gradients[t]]))
        _assert_close(found, _difference(bench, t, along), bench, memory, t)


def gradient_of_elements(case: Case) -> None:
    """Each partial derivative, or a sample of them, against its central difference."""
    bench = Bench.of(case)
    generator, memory = case.generator(), bench.backward(bench.forward())
    for t in bench.differentiable:
        gradient = memory[bench.site.gradients[t]].reshape(-1)
        for i in generator.permutation(t.size)[:SAMPLES]:
            along = np.zeros(t.size)
            along[i] = 1
            numeric = _difference(bench, t, along.reshape(t.shape))
            _assert_close(float(gradient[i]), numeric, bench, memory, t)


def gradient_float32(case: Case) -> None:
    """The gradients in float32 against the same in float64."""
    single, double = Bench.of(case, "float32"), Bench.of(case)
    found, expected = (single.backward(single.forward()), double.backward(double.forward()))
    for t, u in zip(single.differentiable, double.differentiable, strict=True):
        exact = expected[double.site.gradients[u]].ravel()
        error = np.linalg.norm(found[single.site.gradients[t]].ravel() - exact)
        assert error <= 4 * case.float32_error * np.linalg.norm(exact), t


def _difference(bench: Bench, t: Tensor, along: Array) -> float:
    value = bench.values[t]
    high, low = (bench.loss(t, value + sign * STEP * along) for sign in (1, -1))
    return (high - low) / (2 * STEP)


def _assert_close(found: float, numeric: float, bench: Bench, memory: Memory, t: Tensor) -> None:
    """Within rounding of the loss, and 1e-7 of the gradient's norm."""
    rounding = 1e-15 * np.abs(bench.arriving * memory[bench.output]).sum() / STEP
    bound = rounding + 1e-7 * float(np.linalg.norm(memory[bench.site.gradients[t]].ravel()))
    assert found == pytest.approx(numeric, rel=1e-6, abs=bound), t


def in_place_changes_no_bit(case: Case) -> None:
    """Each declared pair run over the same bytes, against the same op run apart."""
    for dtype in ("float32", "float64"):
        bench = Bench.of(case, dtype)
        memory = bench.backward(bench.forward())
        for op in (*bench.site.forward_ops, *bench.site.backward_ops):
            for k, j in op.in_place:
                apart = _run_again(op, memory)
                over = _run_again(op, memory, (k, j))
                for t in op.writes:
                    if t.kind != "scratch":
                        assert apart[t].tobytes() == over[t].tobytes(), (op, k, j, t)


def _run_again(op: Op, memory: Memory, overlap: tuple[int, int] | None = None) -> Memory:
    """Run one op on copies of what it reads, `writes[k]` laid over `reads[j]` if asked."""
    again = Memory()
    for t in op.reads:
        np.copyto(again[t], memory[t])
    if overlap is not None:
        written, read = op.writes[overlap[0]], op.reads[overlap[1]]
        shared = np.full(max(written.nbytes, read.nbytes), NAN_BYTES, np.uint8)
        shared[: read.nbytes] = again[read].reshape(-1).view(np.uint8)
        for t in (read, written):
            again[t] = shared[: t.nbytes].view(t.dtype).reshape(t.shape)
    run_op(op, again)
    return again


def garbage_chunks_and_cores_change_no_bit(case: Case) -> None:
    """Every element is written, whatever was there; nothing that is only read is touched."""
    for dtype in ("float32", "float64"):
        bench = Bench.of(case, dtype)
        poisoned, other = bench.backward(bench.forward()), _otherwise(bench)
        ops = (*bench.site.forward_ops, *bench.site.backward_ops)
        for t in {t for op in ops for t in op.writes if t.kind != "scratch"}:
            assert not np.isnan(poisoned[t]).any(), t
            assert poisoned[t].tobytes() == other[t].tobytes(), t
        written = {t.storage for op in ops for t in op.writes}
        for t, value in bench.values.items():
            assert t in written or poisoned[t].tobytes() == value.tobytes(), t


def _otherwise(bench: Bench) -> Memory:
    """Run over zeros instead of NaN, by small chunks, on one core instead of several."""
    cores = 1 if host.cores() > 1 else HOST_LANES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "cores", lambda: cores)
        return bench.backward(bench.forward(0, 13), 13)


def work_grows_with_the_batch(case: Case) -> None:
    """Twice the samples are twice the floating-point operations of every op."""
    assert _flops(case, 2) == [2 * flops for flops in _flops(case, 1)]


def _flops(case: Case, times: int) -> list[int]:
    shapes = [(times * samples, *rest) for samples, *rest in case.shapes]
    target = host_target(Options(scratch_limit=case.scratch_limit))
    lowering = Lowering(shapes[0][0], target=target)
    inputs = (Tensor(f"x{i}", s, "float32", "activation") for i, s in enumerate(shapes))
    case.layer().apply(lowering, "layer", *inputs)
    (site,) = lowering.sites
    return [op.flops for op in (*site.forward_ops, *site.backward_ops)]


CHECKS: tuple[Check, ...] = (
    shape_rule,
    work_grows_with_the_batch,
    forward_float64,
    forward_float32,
    gradient_along_a_line,
    gradient_of_elements,
    gradient_float32,
    in_place_changes_no_bit,
    garbage_chunks_and_cores_change_no_bit,
)


def refuses(case: BadCase) -> None:
    """The layer is refused when it is made or lowered; the error names it and what is wrong."""
    tensors = [Tensor(f"x{i}", s, "float32", "activation") for i, s in enumerate(case.shapes)]
    layer = None
    with pytest.raises((ShapeError, ArgumentError)) as caught:  # noqa: PT012 - either may refuse
        layer = case.layer()
        layer.apply(Lowering(case.shapes[0][0]), "there", *tensors)
    message = str(caught.value)
    assert case.message in message
    if layer is not None:
        assert repr(layer) in message
        assert "'there'" in message


def each_check(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrize a test by (check, case)."""
    return pytest.mark.parametrize(
        ("check", "case"),
        [pytest.param(f, case, id=f"{case.id}-{f.__name__}") for case in cases for f in CHECKS],
    )


def each_refusal(cases: Iterable[BadCase]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in cases])
