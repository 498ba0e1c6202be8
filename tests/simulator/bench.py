"""One case of the op table on the simulated CUDA device, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.devices.cpu import allocate
from minidl.devices.kernels import Unit, bind, unit_of
from minidl.devices.known import target_of
from minidl.ir import Array, Lowering, Op, Tensor
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16
from minidl.ir.card import Card
from minidl.ir.tensor import host_dtype
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.product import Tuning
from minidl.options import Options
from tests.layers.harness import Bench, Case

DTYPES = {"float32": "float32", "tf32": "float32", "bf16": "bfloat16"}
ERRORS = {"float32": 4e-6, "tf32": 2e-3, "bf16": 2e-2}
"""Bounds of ||found - expected|| / ||expected||."""
ALIGNMENT, GUARD = 256, 0xA5


class Ground:
    """One buffer with a place for each tensor: NaN in every byte of it, a canary behind."""

    def __init__(
        self,
        ops: Iterable[Op],
        more: Iterable[Tensor] = (),
        over: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """over: lay the first tensor over the second, at the same bytes."""
        self.ops = tuple(ops)
        touched = [t for op in self.ops for t in (*op.writes, *op.reads)]
        self.places: dict[Tensor, int] = {}
        end = 0
        for t in dict.fromkeys(t.storage for t in (*touched, *more)):
            if over is None or t is not over[0].storage:
                self.places[t] = end
                end += (t.nbytes // ALIGNMENT + 2) * ALIGNMENT
        if over is not None:
            self.places[over[0].storage] = self.places[over[1].storage]
        self.bytes = allocate(end, ALIGNMENT)
        self.bytes[:] = GUARD
        for t, start in self.places.items():
            self.bytes[start : start + t.nbytes] = 0xFF

    @property
    def graph(self) -> Ground:
        return self

    def offset(self, t: Tensor) -> int:
        return self.places[t.storage] + t.start

    def raw(self, t: Tensor) -> Array:
        start = self.offset(t)
        part = self.bytes[start : start + t.nbytes]
        return part.view(host_dtype(t.dtype)).reshape(t.shape)

    def read(self, t: Tensor) -> Array:
        return from_bfloat16(self.raw(t)) if t.dtype == "bfloat16" else self.raw(t)

    def write(self, t: Tensor, values: Array) -> None:
        self.raw(t)[...] = to_bfloat16(values) if t.dtype == "bfloat16" else values

    def run(self, device: Any) -> None:
        """Run the ops where the bytes are, or on a device with memory of its own."""
        if device.on_host:
            for call in bind(self, self.bytes.ctypes.data, device):  # type: ignore[arg-type]
                call()
            return
        memory = device.allocate(self.bytes.nbytes, ALIGNMENT)
        device.write(memory, 0, self.bytes)
        with device.running():
            for call in bind(self, memory.ptr, device):  # type: ignore[arg-type]
                call()
        self.bytes[:] = device.read(memory, 0, self.bytes.nbytes)

    def check_canaries(self) -> None:
        for t, start in self.places.items():
            behind = self.bytes[start + t.nbytes :][:ALIGNMENT]
            assert (behind == GUARD).all(), f"written behind the end of {t}"


@dataclass(frozen=True)
class Run:
    """A case on both devices: what was found, and what NumPy says in float64."""

    found: dict[str, Array]
    expected: dict[str, Array]


def rounded(array: Array, dtype: str) -> Array:
    """The values that the device will see, as float64."""
    if array.dtype.kind != "f":
        return array
    if dtype == "bfloat16":
        return from_bfloat16(to_bfloat16(array)).astype(np.float64)
    return array.astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Prepared:
    """A case lowered for CUDA, its values in place; nothing has run."""

    double: Bench
    lowering: Lowering
    inputs: tuple[Tensor, ...]
    output: Tensor
    ops: tuple[Op, ...]
    ground: Ground


def prepare_case(
    case: Case, precision: str, tuning: Tuning | None = None, card: Card | None = None
) -> Prepared:
    return prepare(Bench.of(case), precision, tuning, card)


def prepare(
    bench: Bench, precision: str, tuning: Tuning | None = None, card: Card | None = None
) -> Prepared:
    """Lower a case's layer for a card (None: the default one), and put inputs, variables and the
    arriving gradient into memory."""
    case, dtype = bench.case, DTYPES[precision]
    double = _with_rounded_values(bench, dtype)
    options = Options(
        precision=precision,
        device="cuda",
        card=card,
        scratch_limit=case.scratch_limit,
        tuning=tuning,
    )
    lowering = Lowering(
        case.shapes[0][0], dtype, case.training, target_of(options), double.lowering.seed
    )
    inputs = tuple(
        Tensor(t.name, t.shape, dtype if t.dtype.startswith("float") else t.dtype, "activation")
        for t in double.inputs
    )
    output = case.layer().apply(lowering, "layer", *inputs)
    (site,) = lowering.sites
    arriving = site.gradient(output)
    ops = (*site.forward_ops, *site.backward_ops)
    variables = {name: v.tensor for (_, name), v in lowering.variables.items()}
    ground = Ground(ops, (*inputs, *variables.values(), arriving, output))
    for t, twin in zip(inputs, double.inputs, strict=True):
        ground.write(t, double.values[twin])
    twins = {name: v.tensor for (_, name), v in double.lowering.variables.items()}
    for name, t in variables.items():
        ground.write(t, double.values[twins[name]])
    ground.write(arriving, double.arriving)
    return Prepared(double, lowering, inputs, output, ops, ground)


def units_of(prepared: Iterable[Prepared]) -> list[Unit]:
    """Every kernel of some cases, once."""
    launches = (k for case in prepared for op in case.ops for k in launches_of(op))
    return list({unit.entry: unit for unit in map(unit_of, launches)}.values())


def in_place_differences(case: Case, precision: str, device: Any) -> list[str]:
    """Each declared in-place pair, run over the same bytes and apart: what differs in a bit."""
    prepared = prepare_case(case, precision, card=device.card)
    found = []
    for op in prepared.ops:
        before = prepared.ground.bytes.copy()
        _run_op(op, prepared.ground, device)
        for k, j in op.in_place:
            written, read = op.writes[k], op.reads[j]
            together = Ground([op], over=(written, read))
            for t in dict.fromkeys(t.storage for t in op.reads):
                start = prepared.ground.places[t]
                kept = before[start : start + t.nbytes].view(host_dtype(t.dtype))
                together.raw(t)[...] = kept.reshape(t.shape)
            _run_op(op, together, device)
            for t in op.writes:
                same = together.raw(t).tobytes() == prepared.ground.raw(t).tobytes()
                if t.kind != "scratch" and not same:
                    found.append(f"{op.name}: {t.name} with {(k, j)} in place")
    return found


def _run_op(op: Op, ground: Ground, device: Any) -> None:
    ops, ground.ops = ground.ops, (op,)
    ground.run(device)
    ground.ops = ops


def run_case(case: Case, precision: str, device: Any, tuning: Tuning | None = None) -> Run:
    """Forward and backward of the case's layer."""
    return run_prepared(prepare_case(case, precision, tuning, device.card), device)


def run_prepared(prepared: Prepared, device: Any) -> Run:
    double, lowering, ground = prepared.double, prepared.lowering, prepared.ground
    inputs, output = prepared.inputs, prepared.output
    (site,) = lowering.sites
    variables = {name: v.tensor for (_, name), v in lowering.variables.items()}
    twins = {name: v.tensor for (_, name), v in double.lowering.variables.items()}
    ground.run(device)
    ground.check_canaries()

    memory = double.backward(double.forward())
    found, expected = {}, {}
    pairs = [(output, double.output), *zip(inputs, double.inputs, strict=True)]
    pairs += [(variables[name], twins[name]) for name in variables]
    for t, twin in pairs:
        found[t.name], expected[t.name] = ground.read(t), memory[twin]
    for t, twin in pairs[1:]:
        gradient, of_twin = site.gradients.get(t), double.site.gradients.get(twin)
        if gradient is not None and of_twin is not None and gradient.storage in ground.places:
            found[f"d:{t.name}"], expected[f"d:{t.name}"] = ground.read(gradient), memory[of_twin]
    return Run(found, expected)


def _with_rounded_values(bench: Bench, dtype: str) -> Bench:
    inputs = {t: rounded(bench.values[t], dtype) for t in bench.inputs}
    rest = {t: rounded(v, "float32") for t, v in bench.values.items() if t not in inputs}
    return replace(bench, values={**inputs, **rest}, arriving=rounded(bench.arriving, dtype))


def check_case(case: Case, precision: str, device: Any, tuning: Tuning | None = None) -> None:
    """Values and gradients within their bounds, and every in-place pair the same to the bit."""
    bound = max(ERRORS[precision], 4 * case.float32_error)
    assert_close(run_case(case, precision, device, tuning), bound)
    assert not in_place_differences(case, precision, device)


def relative_errors(run: Run) -> dict[str, float]:
    """Of each tensor: the error's norm as a share of its own and, as terms of about 1 may cancel,
    of a quarter an element; NaN where anything is NaN."""
    found = {}
    for name, expected in run.expected.items():
        error = run.found[name].astype(np.float64) - expected
        scale = float(np.linalg.norm(expected.ravel())) + 0.25 * np.sqrt(expected.size)
        found[name] = float(np.linalg.norm(error.ravel())) / float(scale)
    return found


def assert_close(run: Run, bound: float) -> None:
    """Every tensor within `bound`; NaN is never close."""
    for name, error in relative_errors(run).items():
        assert error <= bound, f"{name}: {error:.3g} > {bound:.3g} of its norm"
