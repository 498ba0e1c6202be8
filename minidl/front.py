"""plan and compile: from a network to a plan, and to a step that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cards import named
from minidl.compiler.budget import Limits, Planned
from minidl.compiler.modes import MODES, check_switches, find_mode
from minidl.compiler.planner import Progress, silent
from minidl.devices.device import Device, free_memory
from minidl.devices.known import DEVICES, OF_CARDS, device_of, require_device
from minidl.fitting import largest_fitting
from minidl.ir import (
    ArenaTooLargeError,
    ArgumentError,
    BudgetError,
    Shape,
    format_size,
)
from minidl.ir.calls import called
from minidl.ir.card import Card
from minidl.ir.platforms import require_platform
from minidl.ir.readers import (
    COUNT,
    FUNCTION,
    SEED,
    SHAPE,
    TEXT,
    Reader,
    either,
    having,
    instance,
    late,
    optional,
)
from minidl.keywords import with_keywords
from minidl.layers.base import Layer
from minidl.layers.loss import MSE, CrossEntropy, Loss
from minidl.layers.network import as_network, walk
from minidl.ops.cuda.product import read_tuning
from minidl.optim import SGD, Adam, AdamW, Optimizer
from minidl.options import Options, require_precision, settings_readers
from minidl.placed.graph import PlacedGraph
from minidl.recipe import Plan, Plans, Recipe
from minidl.runtime.debug import GUARD
from minidl.runtime.step import Step

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minidl.keywords import Settings


NAMED = {
    "batch_size": "batch",
    "model": "network",
    "criterion": "loss",
    "loss_fn": "loss",
    "input_shape": "image",
    "metrics": "",
}
"""Other frameworks' keywords."""


LOSSES: dict[str, Callable[[], Any]] = {"crossentropy": CrossEntropy, "mse": MSE, "mseloss": MSE}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
}
"""By the names that other frameworks have, small and without underscores, with usual values."""

LOSS = instance(Loss, LOSSES, "write loss=dl.CrossEntropy()")
OPTIMIZER = instance(Optimizer, OPTIMIZERS, "write optimizer=dl.SGD(0.01)")

READERS: dict[str, Reader] = {
    **settings_readers(),
    "network": instance(Layer, hint="write network=dl.Sequential(...)"),
    "batch": late(COUNT),
    "loss": optional(LOSS),
    "optimizer": optional(OPTIMIZER),
    "image": optional(SHAPE),
    "options": optional(instance(Options, hint="write dl.Options(...)")),
    "gpu": optional(either(TEXT, instance(Card))),
    "device": optional(TEXT),
    "seed": SEED,
    "progress": optional(FUNCTION),
}


@called("write plan(network, 32): the batch stands beside the network", READERS, **NAMED)
@with_keywords(Options)
def plan(
    network: Layer,
    batch: int,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    device: str | None = None,
    image: Shape | None = None,
    gpu: str | Card | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
    **settings: Unpack[Settings],
) -> Plan:
    """The plan of one training step, with no device touched and nothing allocated.

    loss: CrossEntropy by default; optimizer: SGD with momentum 0.9 by default. A class, or a name
    such as "mse" and "adam", stands for an instance with its own default values: "sgd" is SGD(),
    which has no momentum, as in PyTorch.
    device: "cpu", where nothing is said, or "cuda".
    gpu: the card to plan for, say "rtx3060", of those in docs/cards.md: implies device="cuda".
    Without it a plan for cuda is one for the h100; `compile` plans for the card that is there.
    options: all settings of the step in one object; a keyword changes one of them.
    progress: called while plans are searched for, as progress("placing", 0.5), with the share done.
    ShapeError names a layer that does not fit, ArgumentError all that is wrong with the settings.
    """
    chosen = _options(options, settings)
    if device is not None:
        chosen = replace(chosen, device=device)
    if gpu is not None:
        card = named(gpu) if isinstance(gpu, str) else gpu
        chosen = replace(chosen, device=OF_CARDS, card=card)
    recipe = _recipe(network, batch, loss, optimizer, image, chosen)
    planned = _planned(replace(recipe, progress=progress or silent)).training
    recipe.prediction(planned)  # as `compile` would, it refuses a network that computes nothing
    return planned


@with_keywords(Options)
def step_plans(
    network: Layer,
    batch: int,
    *,
    card: Card,
    optimizer: Optimizer | None = None,
    options: Options | None = None,
    **settings: Unpack[Settings],
) -> tuple[PlacedGraph, ...]:
    """Every plan that a step runs on a card: training, adding to gradients where updates are
    spread, prediction. No device is touched; arguments as in `plan`."""
    chosen = replace(_options(options, settings), device=OF_CARDS, card=card)
    recipe = _recipe(network, batch, None, optimizer, None, chosen)
    plans = _planned(recipe)
    more = () if plans.accumulation is None else (plans.accumulation,)
    return (plans.training, *more, recipe.inference(plans.training))


DEVICE = either(TEXT, having("a device", "available", "card"))


@called(
    "write compile(network, 32): the batch stands beside the network",
    {**READERS, "device": optional(DEVICE)},
    **NAMED,
)
@with_keywords(Options)
def compile(  # noqa: A001 - the field's word for it
    network: Layer,
    batch: int,
    *,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    device: str | Device | None = None,
    seed: int = 0,
    image: Shape | None = None,
    debug: bool = False,
    check_finite: bool = False,
    options: Options | None = None,
    **settings: Unpack[Settings],
) -> Step:
    """Plan a training step, take its arena in one allocation and bind every op to it.

    device: "cpu", where nothing is said, "cuda", or a device, say `CudaDevice(index=1)`;
    tiles are chosen for that card.
    loss, optimizer: as in `plan`; optimizer="sgd" has no momentum, the default has 0.9.
    ArenaTooLargeError where the device has fewer bytes free, saying which batch or budget fits.
    debug: fill dead bytes with NaN and put canaries between tensors, checked after every op.
    check_finite: raise NotFiniteError that names the step and the first op whose output is not.
    A UserWarning says it where the output is a flattened image, whose order PyTorch has otherwise.
    options: all settings of the step in one object; a keyword changes one of them.
    """
    chosen = _options(options, settings)
    place = device_of(chosen.device if device is None else device)
    chosen = replace(chosen, device=place.name, card=place.card)
    recipe = _recipe(network, batch, loss, optimizer, image, chosen, seed)
    guard = GUARD if debug else 0
    plans = _planned(recipe, guard)
    recipe = plans.training.recipe
    inference = recipe.inference(plans.training, guard)
    needed = max(plans.training.arena_bytes, inference.arena_bytes)
    if recipe.options.budget is not None and needed > recipe.options.budget:
        raise BudgetError(recipe.options.budget, needed).at("predict")
    _require_memory(needed, plans.training, place)
    walk(recipe.network).warn_of_order()
    how = recipe.loss.check, recipe.seed, debug, check_finite, place
    return Step(plans.training, inference, *how, plans.accumulation)


def _options(options: Options | None, settings: Any) -> Options:
    """The options with some of them changed."""
    return replace(options or Options(), **settings)


def _recipe(
    network: Layer,
    batch: int,
    loss: Loss | None,
    optimizer: Optimizer | None,
    image: Shape | None,
    options: Options,
    seed: int = 0,
) -> Recipe:
    """A recipe of what can be planned; ArgumentError says all that is wrong with the options."""
    require_platform()
    require_right(options, batch)
    tuning = options.tuning
    options = replace(
        options,
        card=DEVICES[options.device].card(options.card),
        tuning=read_tuning(tuning) if isinstance(tuning, (str, Path)) else tuning,
    )
    given = loss or CrossEntropy(), optimizer or SGD(momentum=0.9)
    return Recipe(as_network(network, image), *given, COUNT.read(batch), options, seed)


def require_right(options: Options, batch: int) -> None:
    """ArgumentError with all that is wrong: names first, then values, then what does not go
    together."""
    wrong = options.wrong()
    found = list(_unknown(options, wrong))
    if not found:
        found = [*wrong.values(), *_out_of_batch(options, batch), *_conflicts(options)]
    if found:
        ways_out = dict.fromkeys(error.hint for error in found if error.hint)
        raise ArgumentError("; ".join(error.message for error in found), "; ".join(ways_out))


def _unknown(options: Options, wrong: Mapping[str, ArgumentError]) -> Iterator[ArgumentError]:
    """What each table says of a name that it has not."""
    asked: dict[str, Callable[[Any], object]] = {
        "device": require_device,
        "precision": require_precision,
        "memory": find_mode,
        "disable_passes": check_switches,
    }
    for name, require in asked.items():
        try:
            if name in wrong:
                raise wrong[name]
            require(getattr(options, name))
        except ArgumentError as error:
            yield error


def _out_of_batch(options: Options, batch: Any) -> Iterator[ArgumentError]:
    try:
        size = COUNT.take(batch, "batch")
    except ArgumentError as error:
        yield error
        return
    slices: Any = options.slices
    if isinstance(slices, int) and not 1 <= slices <= size:
        yield ArgumentError(f"slices must be in [1, {size}], the batch, got {slices!r}")


def _conflicts(options: Options) -> Iterator[ArgumentError]:
    yield from DEVICES[options.device].conflicts(options)
    if options.spends_work and not MODES[options.memory].exact:
        able = " or ".join(repr(mode.name) for mode in MODES.values() if mode.exact)
        needs = f"recompute and budget need memory={able}"
        yield ArgumentError(f"{needs}, not {options.memory!r}")


def _planned(recipe: Recipe, guard: int = 0) -> Plans:
    """The plans as they were asked for; BudgetError says which batch would fit."""
    limits = recipe.limits(guard)
    try:
        return recipe.plans(guard, limits)
    except BudgetError as error:
        ways = *_batches(recipe, limits, error.budget), *_levers(recipe, limits, error.needed)
        raise error.hinting("; ".join(ways)) from None


SMALL = 300
"""Ops of a step in slices that is planned to say what they give."""


def _batches(recipe: Recipe, limits: Limits, budget: int) -> Iterator[str]:
    """Which batch would fit: without more work, planned; with it, about."""
    scratch = limits.ways[-1]
    smaller = recipe if scratch is None else recipe.at(scratch_limit=scratch)
    planners = limits.at(scratch)

    def largest(planned: Planned) -> int:
        known = {0: planned.lasting_bytes, recipe.batch: planned.arena_bytes}
        return largest_fitting(smaller.like(*planned.plans), budget, known=known, near=NEAR)

    batch = largest(planners.unspent)
    while batch and smaller.at(batch).planners().unspent.arena_bytes > budget:
        batch -= 1 + batch // MARGIN
    more = largest(planners.lowest)
    more -= more // MARGIN
    if batch:
        yield f"batch {batch} would fit"
    elif not more:
        yield "batch 1 does not fit either"
    if more > batch:
        yield f"about batch {more} would with more work"


NEAR = 0.02
"""Of a batch: a guess that is nearer to the largest is good enough to be told."""

MARGIN = 32
"""One of so many samples is left out where a plan may need a little more than the guess."""


def _levers(recipe: Recipe, limits: Limits, least: int) -> Iterator[str]:
    """What other settings would need at least, where that is below `least` bytes."""
    scratch, lowest = limits.ways[-1], limits.at(limits.ways[-1]).lowest
    changes = {} if scratch is None else {"scratch_limit": scratch}
    options = recipe.options
    if options.device == OF_CARDS and options.precision == "float32":
        needed = recipe.at(precision="bf16", **changes).like(*lowest.plans)(recipe.batch)
        if needed < least:
            yield f"precision='bf16' needs about {format_size(needed)}"
    for slices in (2, 4):
        if options.slices < slices <= recipe.batch:
            planners = recipe.at(slices=slices, **changes).planners()
            if sum(len(planner.graph.ops) for planner in planners.planners) > SMALL:
                yield "slices were not tried, the network is large"
                return
            if (needed := planners.least_peak) < least:
                yield f"slices={slices} needs about {format_size(needed)}"


def _require_memory(needed: int, plan: Plan, device: Device) -> None:
    """ArenaTooLargeError unless the device has `needed` bytes free, saying what would fit."""
    free = device.available()
    if free is None or needed <= free:
        return
    recipe, largest = plan.recipe, plan.largest_batch(free)
    ways = [f"batch {largest} fits" if largest else "not even batch 1 fits"]
    try:
        plan = recipe.at(memory="arena", recompute=None, budget=free).plan()
        share = plan.recompute_flops / (plan.graph.flops - plan.recompute_flops)
        ways.append(f"memory='arena', budget={free} fits this batch for {share:.1%} more work")
    except BudgetError as error:
        ways.append(f"the least budget found for this batch is {format_size(error.needed)}")
    raise ArenaTooLargeError(
        f"the arena needs {format_size(needed)}, {free_memory(device, free)}", hint="; ".join(ways)
    )
