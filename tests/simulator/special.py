"""Cases of the op table with special values in them, on three engines, compared by class.

The engines: the CUDA device, NumPy in the case's own precision, NumPy in float64. Values are put in
sparsely, a kind at a time, so that one sum holds few of them: a sum of many large numbers overflows
or not by its order, and that is no fault.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from minidl.ir import Array, Tensor
from minidl.layers.base import Layer
from tests.layers.harness import SEED, Bench, Case
from tests.simulator.bench import ERRORS, Run, prepare, run_prepared
from tests.simulator.device import SimulatedDevice

SIZE, WORK = 10_000, 2_000_000
"""Elements of an input at most: larger ones bring no other functor. Operations of a quick case."""

LEFT = 4
"""How much further a norm may be off than in test_ops.py, which holds the values: one element may
be all that NaN has left of a tensor, and that one a sum in which terms cancel."""

Values = tuple[float, ...]
LARGE = 1e10
"""Usual values and what is made of them are below it."""

NAN: Values = (np.nan,)
INFINITE: Values = (np.inf, -np.inf)
SMALL: Values = (1e-38, -1e-38, 1e-40, -1e-40, 0.0, -0.0)
"""The smallest normal number is 1.18e-38: all of these are denormal, or zero."""


@dataclass(frozen=True)
class Special:
    """Values for some of a case's tensors, each at one random element."""

    values: Values
    inputs: bool = False
    gradient: bool = False
    parameters: bool = False

    @property
    def overflows(self) -> bool:
        """Whether float32 may overflow on the way where float64 does not."""
        return any(1e30 < abs(v) < np.inf for v in self.values)

    def into(self, bench: Bench) -> Bench:
        generator = np.random.default_rng([SEED, zlib.crc32(f"{bench.case.id} {self}".encode())])

        def put(t: Tensor, array: Array) -> Array:
            chosen = self.parameters if t.kind == "parameter" else self.inputs
            wanted = chosen and (t.kind == "parameter" or t in bench.inputs)
            return self._put(array, generator) if wanted else array

        values = {t: put(t, array) for t, array in bench.values.items()}
        arriving = self._put(bench.arriving, generator) if self.gradient else bench.arriving
        return replace(bench, values=values, arriving=arriving)

    def _put(self, array: Array, generator: np.random.Generator) -> Array:
        if array.dtype.kind != "f":
            return array
        changed = array.copy()
        for value in self.values:
            changed.reshape(-1)[generator.integers(array.size)] = value
        return changed


def is_quick(case: Case) -> bool:
    site = Bench.of(case).site
    return sum(op.flops for op in (*site.forward_ops, *site.backward_ops)) <= WORK


def specials(stem: str, precision: str) -> Iterator[Special]:
    """What a layer family has to bear in a precision."""
    sums = stem in ("conv2d", "linear", "lrn", "batchnorm2d")
    top = 3e37 if sums else 1e38
    yield Special(NAN, inputs=True, gradient=True)
    yield Special(INFINITE, inputs=True, gradient=True)
    large = top, -top / 3  # the two do not cancel
    yield Special(large, inputs=True)
    if precision == "float32":
        yield Special(large, gradient=True)
        yield Special(SMALL, inputs=True, gradient=True)
        if stem in ("conv2d", "linear", "batchnorm2d"):
            yield from (Special(v, parameters=True) for v in (NAN, INFINITE, SMALL))


def differences(stem: str, case: Case, precision: str) -> list[str]:
    """What the engines do not agree on, over all special values."""
    bound, found = max(ERRORS[precision], 4 * case.float32_error), []
    for special in specials(stem, precision):
        prepared = prepare(special.into(Bench.of(case)), precision)
        run = run_prepared(prepared, SimulatedDevice(seed=len(case.id)))
        host = on_host(prepared.double)
        # where padding meets a weight that is not finite, either engine may make NaN of the pixel
        spreads = stem == "conv2d" and special.parameters and special.values in (NAN, INFINITE)
        most = max(map(math.prod, case.shapes))
        for name, pair in _pairs(run, host, special.overflows):
            terms = max(1.0, most / pair[0].size)  # that an element of the tensor may sum
            wrong = _difference(*pair, bound, precision, spreads and name == "d:x0", terms)
            found += [f"{special}: {name}: {wrong}"] if wrong else []
    return found


def _pairs(
    run: Run, host: dict[str, Array], overflows: bool
) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """(found, expected) for each tensor: where float32 overflows NumPy's float32 is the reference,
    else float64 is, of both."""
    for name, exact in run.expected.items():
        if run.found[name].dtype.kind != "f":
            continue
        if overflows:
            yield name, (run.found[name], host[name])
        else:
            yield name, (run.found[name], exact)
            yield name, (host[name], exact)


def on_host(double: Bench) -> dict[str, Array]:
    """Everything that the CPU device makes in float32 of a bench's values."""
    bench = Bench.of(double.case, "float32")
    given = {t.name: value for t, value in double.values.items()}
    values = {t: given[t.name].astype(value.dtype) for t, value in bench.values.items()}
    single = replace(bench, values=values, arriving=double.arriving.astype("float32"))
    memory = single.backward(single.forward())
    made = {t.name: memory[t] for t in (single.output, *single.values)}
    gradients = single.site.gradients
    return made | {f"d:{t.name}": memory[gradients[t]] for t in single.values if t in gradients}


def on_both(
    layer: Callable[[], Layer],
    *inputs: Array,
    arriving: Array | None = None,
    dtype: str = "float32",
) -> list[dict[str, Array]]:
    """What a layer of initial weights makes of some inputs, on the CUDA device and in NumPy."""
    shapes = tuple(array.shape for array in inputs)
    case = Case("special", layer, shapes, lambda: None, draw=lambda *_: inputs)
    bench = Bench.of(case)
    initial = {
        v.tensor: np.asarray(v.initial(np.random.default_rng(0), v.tensor.shape)).astype(
            v.tensor.dtype
        )
        for v in bench.lowering.variables.values()
    }
    bench = Bench(
        case,
        bench.lowering,
        bench.inputs,
        bench.output,
        bench.values | initial,
        np.ones(bench.output.shape) if arriving is None else arriving,
    )
    prepared = prepare(bench, "bf16" if dtype == "bfloat16" else dtype)
    return [run_prepared(prepared, SimulatedDevice(seed=2)).found, on_host(prepared.double)]


def classes(array: Array) -> Array:
    """NaN 2, infinities +-1, finite 0, as float32 has it."""
    with np.errstate(over="ignore"):
        single = np.asarray(array, np.float32)
    signs = np.where(np.isinf(single), np.sign(single), 0)
    return np.where(np.isnan(single), 2, signs).astype(np.int8)


def _difference(
    found: Array, expected: Array, bound: float, precision: str, spreads: bool, terms: float
) -> str | None:
    """Where classes differ, or a finite value is not within its bound of `expected`.

    A sum in which terms cancel is as good as its terms: those above `LARGE` come of special values,
    and are held to the largest of the tensor; usual ones are about 1, and `terms` of them sum up to
    about the root of that.
    """
    here, there = classes(found), classes(expected)
    other = (here != there) & ~(spreads & (here == 2))
    if other.any():
        i = int(other.argmax())
        return f"{other.sum()} elements, as {found.flat[i]} for {expected.flat[i]} at {i}"
    finite = (here == 0) & (there == 0)
    f, e = (np.asarray(a, np.float64)[finite] for a in (found, expected))
    error, size = np.abs(f - e), np.abs(e)
    large, tiny = size > LARGE, (size > 0) & (size < 1e-30)
    rest = ~(large | tiny)
    grain = 2.0**-133 if precision == "bf16" else 2.0**-147  # a denormal's last bit or two
    limits = {
        "large": (error[large].max(initial=0), bound * size[large].max(initial=0)),
        "tiny": ((error - bound * size)[tiny].max(initial=0), grain),
        "usual": (
            np.linalg.norm(error[rest]),
            LEFT * bound * (np.linalg.norm(size[rest]) + 0.25 * np.sqrt(rest.sum() * terms)),
        ),
    }
    over = [f"{name} {e:.3g} > {limit:.3g}" for name, (e, limit) in limits.items() if e > limit]
    return ", ".join(over) or None
