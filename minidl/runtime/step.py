"""Step: a compiled training step, as people call it."""

from __future__ import annotations

import math
import os
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from minidl.devices.device import Device
from minidl.devices.given import Given, OnDevice, host_array
from minidl.ir import (
    ArgumentError,
    Array,
    NotFiniteError,
    PlanError,
    Shape,
    ShapeError,
    Tensor,
    Variable,
)
from minidl.ir.arrays import ARRAYS, UNMASKED
from minidl.ir.copies import Uncopied
from minidl.ir.printed import never_raises
from minidl.ir.readers import ITERABLE
from minidl.ir.sizes import format_size
from minidl.ops.host import ahead
from minidl.optim import require_rate
from minidl.placed.graph import PlacedGraph
from minidl.recipe import Plan
from minidl.report.columns import Summary
from minidl.runtime.arena import Arena
from minidl.runtime.debug import first_not_finite
from minidl.runtime.program import Observer, Program
from minidl.runtime.trace import Trace

Prepared = list[Given]
"""A batch that was checked."""

_STEPS: weakref.WeakSet[Step] = weakref.WeakSet()
"""All that there are."""


class Step(Uncopied):
    """Call it to train: `loss = step(images, labels)`. All it needs lies in one arena.

    Weights, optimizer state and learning rate live there between steps; `predict` runs forward
    in the bytes that a training step uses for activations. Compiled with accumulate=k, each k-th
    call makes an update, with the mean of the gradients of k calls; the others only add theirs up.

    Threads may share a step: each call ends before the next begins. A forked child has a step of
    its own, which goes on from where it was; on a GPU that is refused. A step is not copied or
    pickled.
    """

    instead: ClassVar[str] = (
        "compile the network again, and load_variables(step.variables_dict()) for all of its state"
    )

    def __init__(
        self,
        training: Plan,
        inference: PlacedGraph,
        check_target: Callable[[Array, Shape], None],
        seed: int,
        debug: bool,
        check_finite: bool,
        device: Device | None = None,
        accumulation: PlacedGraph | None = None,
    ) -> None:
        self.plan = training
        self.check_target = check_target
        self.inference_plan = inference
        self.accumulation_plan = accumulation
        for other in filter(None, (inference, accumulation)):
            _require_same_variables(training, other)
        size = max(training.arena_bytes, inference.arena_bytes)
        self.arena = Arena(size, training.options.alignment, device)
        self.check_finite = check_finite
        self._lock, self._process, self._torn = threading.RLock(), os.getpid(), False
        _STEPS.add(self)
        self._batch: list[Given] | None = None
        """The batch for the next step, checked."""
        self._sent_for: PlacedGraph | None = None
        """The plan that has its bytes where they are now; None: they are nowhere."""
        self._program = self._trains(training, debug)
        self._accumulation = self._trains(accumulation, debug) if accumulation else None
        self._ran = self._program
        self._predict = Program(inference, self.arena, debug)
        self._variables = {v.name: v for v in training.graph.variables}
        self._seed, self._undrawn = seed, dict(self._variables)
        self._held: int | None = 0
        """`held`, so that no call has to read it back; None: it is to be read."""
        self._calls, self._loss = 0, math.nan
        """Steps done and the last loss that somebody asked for: what printing says without a word
        to the device."""

    def _trains(self, plan: PlacedGraph, debug: bool) -> Program:
        """A program that, debugged, also checks the target where it reads it."""
        prediction = self.inference_plan.graph.outputs[0].shape

        def check(target: Array) -> None:
            self.check_target(target, prediction)

        return Program(plan, self.arena, debug, {plan.graph.inputs[-1]: check})

    def __call__(self, *arrays: ArrayLike) -> float:
        """One training step, `step(images, labels)`; returns the loss of the weights before it.

        images: (batch, H, W, C) NHWC, or each of the network's inputs; labels: (batch,) integers
        for CrossEntropy. Arrays of other libraries too, by `__array__`, `__dlpack__` or
        `__cuda_array_interface__`: images that lie on the step's GPU are copied there, and must
        have the input's dtype. ShapeError or ArgumentError where they do not fit; nothing has
        changed.
        """
        with self._alone():
            self.put(*arrays)
            return self.start()()

    def put(self, *arrays: ArrayLike) -> Prepared:
        """Check and convert a batch and send it to the device, where a step that was started may
        still run; `start` trains on it. With `prefetch` it arrives beside that step, else behind
        it. The arrays may change once `start` was called."""
        with self._alone():
            self._batch = self._checked(arrays)
            self._send(self._batch)
            return self._batch

    def start(self, batch: Prepared | None = None) -> Callable[[], float]:
        """Begin a step on the batch that was put last, or on `batch`, which `put` returned, should
        another have come between; what it returns waits for the loss."""
        with self._alone():
            if batch is not None and batch is not self._batch:
                self._batch, self._sent_for = batch, None
            self._take()
            self._run()
            return self._loss_later()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread's call meanwhile; ArgumentError in a forked child whose parent was in the
        middle of one, or whose arena lies on a GPU."""
        if self._torn or (self._process != os.getpid() and not self.arena.device.on_host):
            why = "another thread was in a call of it" if self._torn else "its arena lies on a GPU"
            raise ArgumentError(
                f"this process was forked after the step was compiled, and {why}",
                "compile it in the child",
            )
        with self._lock:
            yield

    def _begin_child(self) -> None:
        """In a forked child, which has none of the other threads."""
        self._torn = self._torn or not self._lock.acquire(blocking=False)
        if self._torn:
            self._lock = threading.RLock()
        else:
            self._lock.release()

    def _draw(self, names: Iterable[str] | None = None) -> None:
        """Give variables, all without names, their first values, unless something else was written
        there: who loads weights draws none. By several cores; bits depend on seed and name alone.
        """
        if not self._undrawn:
            return
        with self._lock:
            wanted = self._undrawn if names is None else self._undrawn.keys() & names
            due = [self._undrawn[name] for name in wanted]
            for variable, value in zip(due, ahead(self._first, due), strict=True):
                self._set(variable, value)

    def _first(self, variable: Variable) -> Array:
        return variable.initial(_generator(self._seed, variable), variable.tensor.shape)

    def _send(self, batch: list[Given]) -> None:
        self._sent_for = self._next.plan
        self.arena.send_inputs(self._sent_for, batch)

    def _take(self) -> None:
        """Put the batch where the next call's plan has it, whatever came between."""
        if self._batch is None:
            raise ArgumentError("no batch to train on", "put(images, labels) first")
        if self._sent_for is not self._next.plan:
            self._send(self._batch)
        self.arena.take_inputs(self._next.plan)
        self._batch = self._sent_for = None

    def feed(self, batches: Iterable[tuple[ArrayLike, ...]]) -> Iterator[float]:
        """Train on one batch after the other, and give the loss of each.

        A GPU never waits: the next batch is prepared while it works on this one, with `prefetch`
        also copied to it. A loss comes one batch later than it was asked for, the last at the end.
        """
        waiting: Callable[[], float] | None = None
        following = iter(ITERABLE.take(batches, "batches"))
        while True:
            try:
                arrays = next(following, None)
                now = None if arrays is None else self.start(self.put(*arrays))
            except Exception:
                if waiting is not None:
                    yield waiting()  # that step is done, whatever became of the next batch
                raise
            if waiting is not None:
                yield waiting()
            if now is None:
                return
            waiting = now

    def _loss_later(self) -> Callable[[], float]:
        """The loss of the call that ran last, once it is asked for."""
        loss, offset = self._ran.plan.graph.outputs[0], self._ran.plan.offset
        bytes_of_it = self.arena.device.later(self.arena.bytes, offset(loss), loss.nbytes)

        def read() -> float:
            self._loss = float(bytes_of_it().view(loss.dtype)[0])
            return self._loss

        return read

    def trace(self, path: str | Path, *arrays: ArrayLike) -> float:
        """One training step, as a call makes it, whose ops are timed: a trace is written to `path`
        that ui.perfetto.dev shows. Returns the loss."""
        with self._alone():
            self.put(*arrays)
            self._draw()
            trace = Trace(self._next.plan)
            self._take()
            trace.begin()
            self._run_next(trace.observe)
            trace.write(path)
            return self._loss_later()()

    @property
    def _next(self) -> Program:
        """What the next call runs."""
        if self._accumulation is None or self.held == self.accumulate - 1:
            return self._program
        return self._accumulation

    def _run(self) -> None:
        if not self.check_finite:
            self._run_next()
            return
        try:
            self._run_next(self._next.require_finite)
        except NotFiniteError as error:
            raise error.at(f"step {self.steps + 1}") from None

    def _run_next(self, observe: Observer | None = None) -> None:
        """Run the next call's program; after an error `held` is what the arena says."""
        self._draw()
        held, self._ran, self._held = self.held, self._next, None
        self._ran.run(observe)
        self._held = (held + 1) % self.accumulate
        self._calls += 1

    def predict(self, *inputs: ArrayLike) -> Array:
        """The network's output for any number of images: a new array (N, ...)."""
        with self._alone():
            return self._predicted(inputs)

    def require_inputs(self, *inputs: ArrayLike) -> None:
        """ShapeError or ArgumentError unless `predict` could take them."""
        self._inputs(inputs)

    def _inputs(self, given: tuple[ArrayLike, ...]) -> list[Given]:
        """The network's inputs as arrays of as many samples, once they fit."""
        tensors = self._predict.plan.graph.inputs
        arrays = self._given(given, tensors)
        _require_shapes(arrays, tensors, len(arrays[0]) if arrays and arrays[0].ndim else 0)
        return arrays

    def _predicted(self, inputs: tuple[ArrayLike, ...]) -> Array:
        plan, graph = self._predict.plan, self._predict.plan.graph
        arrays = self._inputs(inputs)
        count = len(arrays[0])
        self._draw()
        batch, result = self.plan.batch, graph.outputs[0]
        dtype = "float32" if result.dtype == "bfloat16" else result.dtype
        outputs = np.empty((count, *result.shape[1:]), dtype)
        if self._sent_for is not None:  # a batch that was put may lie where activations will
            self._sent_for = None
            self.arena.device.after_copies()
        for start in range(0, count, batch):
            size = min(batch, count - start)
            for tensor, array in zip(graph.inputs, arrays, strict=True):
                self.arena.write(plan, tensor, array[start : start + size])
            self._predict.run()
            outputs[start : start + size] = self.arena.read(plan, result)[:size]
        return outputs

    @never_raises
    def __repr__(self) -> str:
        """Of what, where, how large, and how far: what the host knows, so that no GPU is waited
        for."""
        s, device = self.plan.subject, self.plan.options.device
        size = format_size(self.plan.arena_bytes)
        loss = "" if math.isnan(self._loss) else f", loss {self._loss:.4g}"
        return f"<Step of {s.model}, batch {s.batch}, {device}, {size}: {self._calls:,} done{loss}>"

    def summary(self) -> Summary:
        """The plan's summary: a table of the layers when it is printed."""
        return self.plan.summary()

    # -- state -----------------------------------------------------------------------------

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of everything that steps keep: weights, statistics, optimizer state, counters."""
        return tuple(self._variables)

    @property
    def steps(self) -> int:
        """Training steps done: calls, also of those that several make one update."""
        return int(self.array("step"))

    @property
    def accumulate(self) -> int:
        """Calls that make one update."""
        return self.plan.options.accumulate

    @property
    def updates(self) -> int:
        """Updates done; Adam's t."""
        return int(self.array("updates")) if self.accumulate > 1 else self.steps

    @property
    def held(self) -> int:
        """Calls since the last update, whose gradients wait for the next; below `accumulate`."""
        if self._held is None:
            self._held = int(self.array("micro_batch")) if self.accumulate > 1 else 0
        return self._held

    @property
    def gradient_norm(self) -> float:
        """The norm of all weight gradients together in the last update, before it was clipped; 0
        before the first. ArgumentError unless the step was compiled with clip_norm."""
        if "gradient_norm" not in self._variables:
            raise ArgumentError("the step has no gradient_norm", "compile it with clip_norm")
        return float(self.array("gradient_norm"))

    @property
    def learning_rate(self) -> float:
        """A value in the arena: setting it compiles nothing."""
        return float(self.array("learning_rate"))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        rate = self._variables["learning_rate"]
        self._set(rate, np.asarray(require_rate(value)))

    def array(self, name: str) -> Array:
        """A variable in minidl's layout (NHWC, KRSC): on the CPU device a view of its bytes in the
        arena, which can be written; on a GPU a copy."""
        if not isinstance(name, str) or name not in self._variables:
            raise ArgumentError(
                f"no variable {name!r}", f"choose from {', '.join(self._variables)}"
            )
        self._draw([name])
        return self._bytes_of(self._variables[name])

    def _bytes_of(self, variable: Variable) -> Array:
        """What lies where the variable is, were it drawn or not."""
        return self.arena.view(self.plan, variable.tensor)

    def state_dict(self) -> dict[str, Array]:
        """Weights and running statistics by PyTorch's names, copied in PyTorch's layouts."""
        saved = [v for v in self._variables.values() if v.saved]
        with self._alone():
            self._draw()
            return {v.name: np.array(v.to_torch(self.array(v.name)), order="C") for v in saved}

    def load_state_dict(self, arrays: Mapping[str, ArrayLike]) -> None:
        """Take weights by PyTorch's names and layouts. All or nothing: every name and shape is
        checked before the first is written; ShapeError or ArgumentError name what differs."""
        wanted = {v.name: v for v in self._variables.values() if v.saved}
        arrays = ARRAYS.take(arrays, "arrays")
        _require_names(wanted.keys(), arrays.keys(), "state dict differs from the network")
        converted = {name: self._converted(v, arrays[name]) for name, v in wanted.items()}
        with self._alone():
            for name, array in converted.items():
                self._set(wanted[name], array)

    def variables_dict(self) -> dict[str, Array]:
        """Everything that steps keep, optimizer state and counters included: copies by name, in
        minidl's layouts. The same names, shapes and dtypes in every memory mode."""
        with self._alone():
            self._draw()
            return {name: np.array(self.array(name), order="C") for name in self._variables}

    def load_variables(self, arrays: Mapping[str, Array]) -> None:
        """Take what `variables_dict` gave, to the bit. All or nothing: every name, shape and dtype
        is checked before the first is written; ShapeError or ArgumentError name what differs."""
        arrays = ARRAYS.take(arrays, "arrays")
        for name in filter(arrays.__contains__, self._variables):
            _require_same(name, self._bytes_of(self._variables[name]), arrays[name])
        _require_names(self._variables.keys(), arrays.keys(), "variables differ from the step's")
        _require_held(arrays, self.accumulate)
        with self._alone():
            for name, variable in self._variables.items():
                self._set(variable, arrays[name])
            self._held, self._calls, self._loss = None, int(arrays["step"]), math.nan

    def _converted(self, variable: Variable, array: ArrayLike) -> Array:
        given, here = host_array(array), self._bytes_of(variable)
        expected = variable.to_torch(here).shape
        if given.shape != expected:
            raise ShapeError(f"{variable.name}: expected shape {expected}, got {given.shape}")
        _require_numbers(given, variable.name)
        return variable.from_torch(given)

    def _set(self, variable: Variable, value: Array) -> None:
        self.arena.write(self.plan, variable.tensor, value)
        self._undrawn.pop(variable.name, None)

    # -- checks ----------------------------------------------------------------------------

    def _given(self, arrays: tuple[ArrayLike, ...], tensors: tuple[Tensor, ...]) -> list[Given]:
        """The arrays where they lie; ArgumentError names one that is none, or has a mask."""
        names = [t.name for t in tensors] + [f"array {i}" for i in range(len(tensors), len(arrays))]
        found = []
        for name, array in zip(names, arrays, strict=False):
            try:
                found.append(self.arena.device.given(UNMASKED.take(array, name)))
            except ArgumentError as error:
                raise error if error.message.startswith(name) else error.at(name) from None
        return found

    def _checked(self, given: tuple[ArrayLike, ...]) -> list[Given]:
        """The inputs and the target as arrays, once all of them fit. What is looked at, the
        target and with `check_finite` all, comes to the host."""
        tensors = self.plan.graph.inputs
        arrays = self._given(given, tensors)
        whole = len(arrays) if self.check_finite else 1
        arrays[-whole:] = [_on_host(array) for array in arrays[-whole:]]
        _require_shapes(arrays, tensors, self.plan.batch)
        for tensor, array in zip(tensors, arrays, strict=True):
            if isinstance(array, OnDevice):
                continue
            if tensor.integer and not np.issubdtype(array.dtype, np.integer):
                raise ArgumentError(f"{tensor.name} must be integers, got {array.dtype}")
            _require_range(array, tensor)
            if self.check_finite and (where := first_not_finite(array)) is not None:
                found = f"{array.flat[where]} at element {where}"
                raise NotFiniteError(f"step {self.steps + 1}: {tensor.name} holds {found}")
        self.check_target(_on_host(arrays[-1]), self.inference_plan.graph.outputs[0].shape)
        return arrays


def _begin_child() -> None:
    for step in _STEPS:
        step._begin_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)


def _on_host(array: Given) -> Array:
    return array.on_host() if isinstance(array, OnDevice) else array


def _require_shapes(arrays: list[Given], tensors: tuple[Tensor, ...], batch: int) -> None:
    """ShapeError or ArgumentError unless there is an array of real numbers for each tensor, of
    its shape at this batch."""
    if len(arrays) != len(tensors):
        names = ", ".join(t.name for t in tensors)
        came = f", the first of shape {arrays[0].shape}" if arrays else ""
        raise ShapeError(
            f"expected {len(tensors)} arrays ({names}), got {len(arrays)}{came}",
            f"give a batch as ({names}); of whole arrays minidl.train.Shuffled({names}, {batch}) "
            "makes batches",
        )
    for array, tensor in zip(arrays, tensors, strict=True):
        expected = (batch, *tensor.shape[1:])
        if array.shape != expected:
            raise ShapeError(
                f"{tensor.name}: the step was compiled for shape {expected}, got {array.shape}",
                _way_out(array.shape, expected),
            )
        if not isinstance(array, OnDevice):
            _require_numbers(array, tensor.name)
            _require_normalised(array, tensor)
        elif str(array.dtype) != tensor.dtype:
            raise ArgumentError(
                f"{tensor.name}: on the GPU the step reads {tensor.dtype}, the array is "
                f"{array.dtype}",
                "convert it there, or give an array on the host",
            )


def _way_out(given: Shape, expected: Shape) -> str:
    """What to do about a shape that does not fit."""
    if len(expected) == 2 and given == expected[:1] and expected[1] == 1:
        return "write target[:, None]"
    if given and len(given) == len(expected) - 1:
        return "the first axis is the batch: add it, array[None], or give several samples"
    if given and given[1:] == expected[1:]:
        return "leave out a short last batch (drop_last=True), or compile again for this batch"
    if len(expected) == 1:
        return "labels are one whole number a sample: labels.argmax(axis=1) of one-hot rows"
    if len(expected) == 4 and given == (expected[0], expected[3], *expected[1:3]):
        return "images are NHWC: images.transpose(0, 2, 3, 1)"
    return "images are NHWC; compile again for another batch or image"


def _require_names(here: AbstractSet[str], given: AbstractSet[str], what: str) -> None:
    missing, extra = here - given, given - here
    if missing or extra:
        raise ArgumentError(
            f"{what}: missing {sorted(missing) or 'none'}, unknown {sorted(extra) or 'none'}"
        )


def _require_same(name: str, here: Array, given: Array) -> None:
    if given.shape != here.shape:
        raise ShapeError(f"{name}: expected shape {here.shape}, got {given.shape}")
    if given.dtype != here.dtype:
        raise ArgumentError(f"{name}: expected dtype {here.dtype}, got {given.dtype}")


def _require_held(arrays: Mapping[str, Array], accumulate: int) -> None:
    """ArgumentError where more calls wait for an update than this step makes one of."""
    held = int(arrays.get("micro_batch", np.zeros((), np.int64)))
    if not 0 <= held < accumulate:
        raise ArgumentError(
            f"gradients of {held} calls wait for an update, which this step makes of {accumulate}",
            "compile it with the accumulate that they come from",
        )


def _require_numbers(array: Array, name: str) -> None:
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"{name} must be integers or floats, got {array.dtype}")


def _require_normalised(array: Array, tensor: Tensor) -> None:
    """ArgumentError for images of bytes where the network reads floats, which nobody normalised."""
    if array.dtype == np.uint8 and len(tensor.shape) == 4 and not tensor.integer:
        raise ArgumentError(
            f"{tensor.name}: images of bytes, and the network reads {tensor.dtype}: values of 0 to "
            "255 are not normalised",
            "use minidl.from_bytes(network, mean, std), or give them as floats, normalised",
        )


def _require_range(array: Array, tensor: Tensor) -> None:
    """ArgumentError where integers do not fit into the tensor's dtype."""
    if tensor.integer and not np.can_cast(array.dtype, tensor.dtype):
        limits = np.iinfo(tensor.dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise ArgumentError(
                f"{tensor.name} must be in [{limits.min}, {limits.max}], got values in "
                f"[{array.min()}, {array.max()}]"
            )


def _generator(seed: int, variable: Variable) -> np.random.Generator:
    """Random numbers that depend on the seed and the variable's name only."""
    key = np.array([seed, zlib.crc32(variable.name.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _require_same_variables(training: PlacedGraph, other: PlacedGraph) -> None:
    """Both plans must keep the network's variables at the same bytes."""
    here = {v.name: training.offset(v.tensor) for v in training.graph.variables}
    for v in other.graph.variables:
        if here.get(v.name) != other.offset(v.tensor):
            raise PlanError(f"{v.name} lies elsewhere in another plan of the step")
