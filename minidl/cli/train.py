"""Train a network; with no flags AlexNet on bundled digits."""

from __future__ import annotations

import argparse
import shlex
from contextlib import ExitStack
from pathlib import Path

import minidl as dl
from minidl.cards import ANYWHERE
from minidl.cli.config import saved_flags
from minidl.cli.evaluate import add_confusion, report
from minidl.cli.images import (
    add_augmentation,
    add_images,
    digits_image,
    loading,
    seeing,
)
from minidl.cli.options import (
    add_config,
    add_device,
    add_network,
    add_optimizer,
    add_planning,
    add_switch,
    device,
    elsewhere,
    optimizer,
    planning,
    planning_of,
)
from minidl.cli.running import (
    add_averaging,
    add_run,
    require_folder,
    resumed,
    trainer,
)
from minidl.cli.schedules import add_schedule, schedule
from minidl.cli.values import path
from minidl.console import say, tell, waiting
from minidl.data import HeldOut, Loader, Splits, open_data
from minidl.devices.presence import DeviceError
from minidl.interop import load_weights, save_weights
from minidl.ir import ArgumentError, Array
from minidl.predict import (
    ModelCard,
    card_for,
    description,
    evaluate,
    evaluation_loader,
    labels_of,
    load_checkpoint,
    training_loader,
)
from minidl.predict.card import PUBLISHED, published_constants
from minidl.predict.images import require_batch
from minidl.predict.trained import (
    AVERAGED,
    WEIGHTS,
    described,
    held_out_by,
    say_constants,
    written,
)
from minidl.train import Checkpoint, Terminated, Trainer
from minidl.train import checkpoint as checkpoints
from minidl.train.best import KeepBest
from minidl.train.checkpoint import BEST

EXAMPLES = (
    ("minidl train", "AlexNet on the bundled handwritten digits"),
    (
        "minidl train --data-path photos --model resnet18 -b 32 --epochs 90 --output-dir run",
        "images in folders, one a class; photos/train and photos/val if they are there",
    ),
    ("minidl train --resume run", "go on where it stopped, with the same flags"),
    (
        "minidl train --data-path photos --weights alexnet.pth --new-head --lr 0.001",
        "fine-tune weights of torchvision for classes of your own",
    ),
    (
        "minidl train --data-path cifar10 --model vgg_small --device cuda --amp --prefetch",
        "on a GPU in bf16, the next batch copied meanwhile",
    ),
    ("minidl train --config run.toml --lr 0.02", "flags from a file, one of them overruled"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    network = add_network(parser, model="alexnet", batch=64, classes=None)
    network.add_argument(
        "--weights", type=path, metavar="FILE", help="begin with them: .safetensors, .pth or .npz"
    )
    add_switch(
        network,
        "--new-head",
        "with --weights: the last layer begins anew, whatever classes they have",
    )
    add_augmentation(add_images(parser, "digits"))
    loss = add_optimizer(parser, lr=0.005)
    loss.add_argument(
        "--label-smoothing", type=float, default=0.0, metavar="SHARE", help="of the loss's targets"
    )
    add_schedule(parser)
    add_run(parser)
    testing = parser.add_argument_group("test")
    add_switch(testing, "--test-only", "measure --weights or --resume, and train nothing")
    add_confusion(testing)
    add_averaging(parser)
    add_planning(parser)
    add_device(parser)
    parser.set_defaults(opened=opened, found=None, changed={})


def run(options: argparse.Namespace) -> int:
    if options.found is not None and options.output_dir is None:
        options.output_dir = options.found.path.parent
    require_folder(options)
    if options.output_dir is not None:
        resumed = None if options.found is None else options.found.path
        checkpoints.require_own(options.output_dir, resumed)  # before anybody waits for a plan
    if options.resume not in (None, "auto") and options.weights is not None:
        raise ArgumentError("--resume goes on with the run's weights", "leave --weights out")
    if options.new_head and options.weights is None and options.found is None:
        raise ArgumentError("--new-head is for --weights", "leave it out, or name a file of them")
    if options.confusion is not None and not options.test_only:
        raise ArgumentError(
            "--confusion is for --test-only", "a run's --output-dir has confusion.csv"
        )
    schedule(options)
    held = _held_out(options)
    with waiting(f"listing {options.data_path}"):
        splits = open_data(options.data_path, image=digits_image(options), held=held)
    if options.weights is not None and options.found is None:
        _take_constants(options)
    card = card_for(options.model, splits, **seeing(options))
    if options.test_only:
        return _test(options, card, splits)
    require_batch(options.batch_size, splits)
    if options.changed:
        say(f"other flags than the run had: {', '.join(options.changed.values())}")
    say(str(splits))
    say(f"results: {options.output_dir}" if options.output_dir is not None else NOTHING_KEPT)
    step = _step(options, card)
    if options.weights is not None and options.found is None:
        load_weights(step, options.weights, new_head=options.new_head)
    flags = saved_flags(options, options.parser)
    arguments = {"flags": flags, "about": card.as_dict()}
    made = trainer(step, options, arguments, splits.measured)
    options.found = None  # its arrays are in the step
    say(step.plan.table())
    return _fit(made, options, card, splits)


def _held_out(options: argparse.Namespace) -> HeldOut:
    """How images are held out where there is one split only: as the run that is resumed did, or
    that of the weights that are tested, since what they were trained on is no test."""
    found = None
    if options.found is not None:
        found = held_out_by(options.found.state.arguments, options.found.path)
    elif options.weights is not None and options.test_only:
        found = held_out_by(described(options.weights), options.weights)
    return HeldOut(options.seed) if found is None else found


def _take_constants(options: argparse.Namespace) -> None:
    """--mean and --std of published weights, where no flag says them nor the weights' header."""
    if options.model in PUBLISHED and options.mean is options.std is None:
        if not described(options.weights):
            options.mean, options.std = published_constants(options.model, 3)
            say_constants(options.weights, options.model)


NOTHING_KEPT = "nothing is kept: --output-dir DIR keeps checkpoints, a log and the weights"


def _step(options: argparse.Namespace, card: ModelCard) -> dl.Step:
    try:
        with waiting(planning_of(options.model, options.batch_size, options.device)):
            return _compiled(options, card)
    except DeviceError as error:
        own = "" if error.hint == ANYWHERE else f"{error.hint}, or "
        raise error.hinting(f"{own}go without it: {elsewhere(options, 'cpu')}") from None


def _compiled(options: argparse.Namespace, card: ModelCard) -> dl.Step:
    return dl.compile(
        card.network(),
        options.batch_size,
        loss=dl.CrossEntropy(label_smoothing=options.label_smoothing),
        optimizer=optimizer(options),
        seed=options.seed,
        check_finite=options.check_finite,
        **device(options),
        **planning(options),
    )


def _fit(made: Trainer, options: argparse.Namespace, card: ModelCard, splits: Splits) -> int:
    """All epochs, then the weights; a signal says what is kept and how to go on."""
    with ExitStack() as stack:
        train = stack.enter_context(_training(options, card, splits))
        test = stack.enter_context(_testing(options, card, splits))
        try:
            made.fit(train, test, options.epochs)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_way_on(made)) from None
        except Terminated as stop:
            tell(f"minidl train: {stop.signal.name}: {_way_on(made)}")
            return int(stop.code or 0)
    if made.output_dir is not None:
        _write(made, made.output_dir, description(card, made.arguments["flags"]))
    return 0


def _training(options: argparse.Namespace, card: ModelCard, splits: Splits) -> Loader:
    how = {"seed": options.seed, "augment": options.augment, "flip": options.flip}
    return training_loader(card, splits.train, options.batch_size, **how, **loading(options))


def _testing(options: argparse.Namespace, card: ModelCard, splits: Splits) -> Loader:
    return evaluation_loader(card, splits.test, options.batch_size, **loading(options))


def _write(made: Trainer, folder: Path, header: dict[str, str]) -> None:
    """The weights, and averaged ones where there are some."""
    save_weights(folder / WEIGHTS, made.step.state_dict(), header)
    say(f"weights: {folder / WEIGHTS}")
    if made.ema is not None and made.ema.arrays:
        save_weights(folder / AVERAGED, made.ema.arrays, header)
        say(f"averaged weights: {folder / AVERAGED}")
    best = next((c.best for c in made.callbacks if isinstance(c, KeepBest)), None)
    if best is not None:
        say(f"epoch {best.epoch} is {best}: {folder / BEST}")


def _way_on(made: Trainer) -> str:
    """What is kept of a run that was interrupted."""
    if made.output_dir is None:
        return "nothing is kept without --output-dir"
    kept = checkpoints.found(made.output_dir)
    if not kept:
        return "no step is done"
    saved = checkpoints.steps_of(kept[-1]) == made.steps
    return (
        f"{'saved' if saved else 'this step is lost; the last checkpoint is'} {kept[-1]}; "
        f"go on with: minidl train --resume {shlex.quote(str(made.output_dir))}"
    )


def _test(options: argparse.Namespace, card: ModelCard, splits: Splits) -> int:
    """--test-only: the network that these flags would train, with weights that are there."""
    if (options.weights is None) == (options.found is None):
        raise ArgumentError("--test-only measures --weights FILE or --resume DIR")
    step = _step(options, card)
    if options.found is not None:
        load_checkpoint(step, options.found, options.model_ema)
    else:
        load_weights(step, options.weights)
    labels = _labels(options, splits)
    say(str(splits))
    with _testing(options, card, splits) as loader:
        name = f"{splits.name} {splits.measured}"
        with waiting(f"measuring {len(splits.test):,} images"):
            found = evaluate(step, [loader], labels)
        report(found, name, card, options.confusion)
    return 0


def _labels(options: argparse.Namespace, splits: Splits) -> Array | None:
    """The network's label of each class of the images, by name, where what is measured says which
    classes it was trained on."""
    path = options.weights
    said = options.found.state.arguments if options.found is not None else described(path)
    known = written(said, path if options.found is None else options.found.path)
    if known is None or not known.names:
        return None
    return labels_of(known, splits.classes, splits.name)


def opened(options: argparse.Namespace) -> Checkpoint | None:
    """The checkpoint that --resume names, read once; None where a run begins."""
    found = resumed(options.resume, options.output_dir)
    return None if found is None else checkpoints.opened(found)
