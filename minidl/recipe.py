"""Recipe and Plan: a step that can be planned again, and a plan that can be asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from minidl.compiler.budget import Limits, Planned, Planners, fitted
from minidl.compiler.lower import lower_accumulation, lower_inference, lower_training
from minidl.compiler.modes import MODES
from minidl.compiler.pattern import Pattern
from minidl.compiler.planner import Planner, Progress, make_curve, silent
from minidl.devices.known import DEVICES, target_of
from minidl.fitting import largest_about, largest_fitting, nearly_largest
from minidl.ir import ArgumentError, BudgetError, StepGraph, parse_size
from minidl.ir.printed import never_raises
from minidl.layers.loss import Loss
from minidl.layers.network import Network
from minidl.optim import Optimizer
from minidl.options import Options
from minidl.placed.file import placed_to_dict
from minidl.placed.graph import PlacedGraph, Subject
from minidl.report.columns import Summary
from minidl.report.curve import Curve
from minidl.report.explain import explain_text
from minidl.report.others import ModeRow, Others
from minidl.report.page import notebook, plan_page
from minidl.report.png import write_png
from minidl.report.snapshot import write_snapshot
from minidl.report.summary import summarize
from minidl.report.table import plan_table
from minidl.report.tiles import Tiles, model_tiles
from minidl.report.times import StepTime, time_step

RECOMPUTE = ModeRow("recompute", "arena, and what the settings below spend", 0)
"""The row of a plan that spends work, under those of the modes."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """A training step that can be planned: data, which passes and devices read."""

    network: Network
    loss: Loss
    optimizer: Optimizer
    batch: int
    options: Options
    seed: int = 0
    """Of random numbers that a step draws."""
    progress: Progress = field(default=silent, compare=False, repr=False)
    """Called while plans are searched for, with what is being done and the share of it that is."""

    @never_raises
    def __repr__(self) -> str:
        what = f"{self.network.brief()}, batch {self.batch}, {self.loss!r}, {self.optimizer!r}"
        return f"Recipe({what}, {self.options!r}, seed={self.seed})"

    def at(self, batch: int | None = None, **changes: Any) -> Recipe:
        """The same at another batch, and with other options by name."""
        batch = self.batch if batch is None else batch
        return replace(self, batch=batch, options=replace(self.options, **changes))

    def plan(self) -> Plan:
        """The plan of a step; BudgetError where none fits."""
        return self.plans().training

    def plans(self, guard: int = 0, limits: Limits | None = None) -> Plans:
        """What calls of a step run; guard: bytes kept free behind every tensor.

        With a budget, in this order: as it is; with smaller kernels; with ops that run again; with
        both. What kernels may plan as scratch then stands in the options of the plan. limits: those
        of `limits`, which keep what was found.
        """
        budget = self.options.budget
        if budget is None:
            planned = Planned(tuple(p.plan() for p in self.planners(guard).planners))
            return self._checked(planned)
        limit, planned = fitted(limits or self.limits(guard), budget)
        return self._at_scratch(limit)._checked(planned)

    def limits(self, guard: int = 0) -> Limits:
        """The step with as much scratch as the options allow, and with less."""
        return Limits(lambda limit: self._at_scratch(limit).planners(guard))

    def _at_scratch(self, limit: int | None) -> Recipe:
        return self if limit is None else self.at(scratch_limit=limit)

    def planners(self, guard: int = 0) -> Planners:
        """What makes the plans of each kind of call."""
        options = self.options
        how = self.batch, options, target_of(options)
        graph = lower_training(self.network, self.loss, self.optimizer, *how, self.seed)
        graphs = [graph]
        if options.accumulate > 1:
            graphs.append(lower_accumulation(self.network, self.loss, *how, graph, self.seed))
        more = self._subject, options, guard, self.progress
        return Planners(*(Planner(graph, *more) for graph in graphs))

    def largest(self, limit: int, plan: PlacedGraph) -> int:
        """The largest batch whose arena fits into `limit` bytes; 0 if none does.

        Guesses are made with the order of a plan of this batch, and what runs again there; where
        that is searched for, the next larger batch than the result is not planned.
        """

        def needs(batch: int) -> int:
            try:
                return self.at(batch).plan().arena_bytes
            except BudgetError as error:  # within `limit` perhaps, and not within the budget
                return max(error.needed, limit + 1)

        options = self.options
        if not MODES[options.memory].exact:
            return largest_fitting(needs, limit, self.batch)
        if options.budget is not None:
            limit, plan = min(limit, options.budget), self.planners().planners[0].lowest
            return largest_about(needs, self.like(plan), limit, self.batch)
        find = nearly_largest if options.recompute else largest_about
        return find(needs, self.like(plan), limit, self.batch)

    def like(self, *plans: PlacedGraph) -> Callable[[int], int]:
        """By batch, the bytes that the step needs with the orders of plans of this one, and what
        runs again there: about what a plan of its own needs, for a tenth of the time."""
        patterns = tuple(Pattern.of(plan.graph) for plan in plans)
        loose = max(plan.arena_bytes / plan.max_load_bytes for plan in plans)

        def needs(batch: int) -> int:
            return int(loose * self.at(batch).planners().peak_like(patterns))

        return needs

    def _checked(self, planned: Planned) -> Plans:
        """The plans; LimitError where the device cannot launch an op of one."""
        for placed in planned.plans:
            DEVICES[self.options.device].check(placed.graph.ops, self.options)
        training, *more = planned.plans
        own = {f.name: getattr(training, f.name) for f in fields(training)}
        own["arena_bytes"] = planned.arena_bytes
        return Plans(Plan(**own, recipe=self), more[0] if more else None)

    def curve(self) -> Iterator[Plan]:
        """Plans of a step from the least work to the fewest bytes; see `Plan.curve`."""
        options = replace(self.options, budget=None, recompute=None)
        how = self.batch, options, target_of(options)
        graph = lower_training(self.network, self.loss, self.optimizer, *how, self.seed)
        least = self.at(budget=None, recompute=None)
        more = least.plans().accumulation if options.accumulate > 1 else None
        for placed in make_curve(graph, self._subject, options, self.progress):
            own = {f.name: getattr(placed, f.name) for f in fields(placed)}
            if more is not None:
                own["arena_bytes"] = max(placed.arena_bytes, more.arena_bytes)
            yield Plan(**own, recipe=replace(self, options=placed.options))

    def inference(self, training: PlacedGraph, guard: int = 0) -> PlacedGraph:
        """The plan of a prediction with the weights of a training step."""
        plain = replace(self.options, recompute=None, budget=None)
        return self._placed(self.prediction(training), plain, guard)

    def prediction(self, training: PlacedGraph) -> StepGraph:
        """The ops of a prediction; ArgumentError where there are none."""
        plain = replace(self.options, recompute=None, budget=None)
        how = self.batch, plain, target_of(plain), training.graph, self.seed
        graph = lower_inference(self.network, *how)
        if not graph.ops:
            raise ArgumentError(
                f"{self.network.brief()} has nothing to compute in a prediction: its output is its "
                "input",
                "add a layer with weights, Linear or Conv2d",
            )
        return graph

    @property
    def _subject(self) -> Subject:
        return Subject(self.network.name, self.batch, self.network.image)

    def _placed(self, graph: StepGraph, options: Options, guard: int) -> PlacedGraph:
        """Proven; LimitError where the device cannot launch an op of it."""
        placed = Planner(graph, self._subject, options, guard, self.progress).plan()
        DEVICES[options.device].check(placed.graph.ops, options)
        return placed


@dataclass(frozen=True, eq=False, repr=False)
class Plan(PlacedGraph):
    """One training step in one arena, and the recipe that it came from.

    Printed it is one line. `table`, `explain`, `summary`, `to_html` say more; what they say of
    other memory modes is planned when it is asked for.
    """

    recipe: Recipe = field(kw_only=True)

    @cached_property
    def modes(self) -> dict[str, int]:
        """Arena bytes of the same step in every memory mode, and, called recompute, of this one
        where it spends work or keeps to a budget; planned when first asked for."""
        sizes = {name: self._in_mode(name) for name in MODES}
        return {**sizes, RECOMPUTE.name: self.arena_bytes} if self.options.spends_work else sizes

    def _in_mode(self, name: str) -> int:
        """Arena bytes of the same step in a memory mode that spends no work."""
        if name == self.options.memory and not self.options.spends_work and not self.guard:
            return self.arena_bytes
        return self.recipe.at(memory=name, recompute=None, budget=None).plan().arena_bytes

    @cached_property
    def bytes_without(self) -> dict[str, int]:
        """Arena bytes of the same step without `clip_norm` and without `accumulate`, of those in
        use; planned when first asked for."""
        plain = {"clip_norm": None, "accumulate": 1}
        used = {name: none for name, none in plain.items() if getattr(self.options, name) != none}
        return {
            name: self.recipe.at(**{name: none}).plan().arena_bytes for name, none in used.items()
        }

    def largest_batch(self, memory: int | str | None = None) -> int:
        """The largest batch whose arena fits into `memory` bytes, say "12GiB"; 0 if none does.

        memory: what the plan's card leaves free where nothing is said. The same network and
        options are planned at several batches; no device is touched.
        """
        return self.recipe.largest(self._free() if memory is None else parse_size(memory), self)

    def curve(self) -> Curve:
        """The same step with more and more work for fewer and fewer bytes, about ten plans; what
        this plan was allowed to spend does not count. No device is touched.

        ArgumentError in memory modes that spend no work.
        """
        if not MODES[self.options.memory].exact:
            raise ArgumentError(f"memory={self.options.memory!r} spends no work", "use 'arena'")
        return Curve(tuple(self.recipe.curve()))

    def time(self) -> StepTime:
        """How long a step takes on the plan's card, as predicted: seconds op by op, what bounds
        each, and its roofline. Nothing is measured and no device is touched; see docs/roofline.md.

        ArgumentError where the plan is for the cpu.
        """
        return time_step(self)

    def tiles(self) -> Tiles:
        """Tiles and splits of matrix products that the model behind `time` would choose otherwise
        than the plan has them; `dl.plan(..., tuning=plan.tiles().rows)` plans with these.

        ArgumentError where the plan is for the cpu.
        """
        return model_tiles(self)

    def _free(self) -> int:
        if self.options.card is None:
            raise ArgumentError(
                "largest_batch of a plan for the cpu needs the memory", "give it, as '12GiB'"
            )
        return self.options.card.free

    # -- for people and programs -------------------------------------------------------------

    def to_dict(self, curve: Curve | None = None, time: StepTime | None = None) -> dict[str, Any]:
        """The plan file's content, with a curve as its `curve` and a time as its `time`; see
        docs/plan_file.md."""
        more: dict[str, Any] = {} if curve is None else {"curve": list(curve.rows())}
        more |= {} if time is None else {"time": time.to_dict()}
        return {**placed_to_dict(self, self.modes), **more}

    def to_json(self, curve: Curve | None = None, time: StepTime | None = None) -> str:
        """The plan file, as text."""
        return json.dumps(self.to_dict(curve, time), indent=1)

    def table(self) -> str:
        """The step in every memory mode, and what this plan chose and needs."""
        return plan_table(self, self.others())

    def explain(self) -> str:
        """What was chosen, layer by layer, in plain words."""
        return explain_text(self, Others(without=self.bytes_without))

    def summary(self) -> Summary:
        """Layer by layer: output shape, parameters, FLOP, stash and what became of it. Printed it
        is a table; `rows` and `totals` are its figures."""
        return summarize(self, self._in_mode("naive"))

    def to_html(self, more: str = "") -> str:
        """One self-contained page: the arena over time, the peak and its causes, every choice;
        more: HTML that stands above them."""
        return plan_page(self, self.others(), more)

    def _repr_html_(self) -> str:
        """A drawing, and the memory modes where they were asked for: printing never plans."""
        return notebook(self, self.others() if "modes" in vars(self) else Others())

    def to_png(self, path: str | Path) -> None:
        """Draw the arena over time; needs the extra `minidl[plot]`."""
        write_png(self, path)

    def to_snapshot(self, path: str | Path) -> None:
        """Write a file that PyTorch's memory viewer opens: pytorch.org/memory_viz."""
        write_snapshot(self, path)

    def others(self) -> Others:
        """Figures of other plans of the step, for its reports."""
        return Others(tuple(self._mode_rows()), self.bytes_without)

    def _mode_rows(self) -> Iterator[ModeRow]:
        chosen = RECOMPUTE.name if RECOMPUTE.name in self.modes else self.options.memory
        for name, size in self.modes.items():
            idea = MODES[name].idea if name in MODES else RECOMPUTE.idea
            yield ModeRow(name, idea, size, name == chosen)


@dataclass(frozen=True)
class Plans:
    """What calls of a step run."""

    training: Plan
    accumulation: PlacedGraph | None
    """Of the calls that only add to the sums of gradients, where there are some."""
