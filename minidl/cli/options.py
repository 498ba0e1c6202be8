"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import Field, fields
from typing import Any

import minidl as dl
from minidl.cli.values import of_word, path, place, positive
from minidl.compiler.modes import MODES, switches
from minidl.devices.known import DEVICES, OF_CARDS
from minidl.ir import ArgumentError, parse_size
from minidl.options import About, Options, about, flag_of
from minidl.predict import model_image

Group = argparse._ArgumentGroup
"""Where flags are added: their heading in --help."""


SEVERAL = "; again for more than one"


def add_switch(group: Group, name: str, what: str, default: bool | None = False) -> None:
    """`--name`, and `--no-name` that takes back what a file says."""
    group.add_argument(name, action=argparse.BooleanOptionalAction, default=default, help=what)


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument_group("flags from a file").add_argument(
        "--config", type=path, metavar="FILE", help="TOML, the flags' long names; flags here win"
    )


def add_network(
    parser: argparse.ArgumentParser,
    model: str | None,
    batch: int | None,
    classes: int | None,
    several: bool = False,
) -> Group:
    """--model, -b, --image, --classes; several: --model may be given again, and is a list."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model",
        action="append" if several else "store",
        choices=sorted(dl.models.MODELS),
        default=[] if several else model,
        metavar="NAME",
        help=f"network: {', '.join(sorted(dl.models.MODELS))}{SEVERAL if several else ''}",
    )
    if batch is not None:
        group.add_argument(
            "-b",
            "--batch-size",
            type=positive,
            default=batch,
            metavar="N",
            help="images in one step",
        )
    group.add_argument(
        "--image",
        type=positive,
        metavar="PIXELS",
        help="height and width of the images (default: the command's or model's)",
    )
    group.add_argument(
        "--classes",
        type=positive,
        default=classes,
        metavar="N",
        help="outputs of the network" + ("" if classes else " (default: what the data has)"),
    )
    return group


def add_optimizer(parser: argparse.ArgumentParser, lr: float) -> Group:
    """--opt, --lr, --momentum, --wd."""
    group = parser.add_argument_group("optimizer")
    group.add_argument("--opt", choices=list(OPTIMIZERS), default="sgd", help="optimizer")
    group.add_argument("--lr", type=float, default=lr, metavar="RATE", help="learning rate")
    group.add_argument(
        "--momentum", type=float, default=0.9, metavar="SHARE", help="SGD's momentum"
    )
    group.add_argument(
        "--wd",
        "--weight-decay",
        type=float,
        default=5e-4,
        dest="weight_decay",
        metavar="SHARE",
        help="weight decay",
    )
    return group


CHOICES: dict[str, Collection[str]] = {
    "device": DEVICES,
    "precision": ("float32", "tf32", "bf16"),
    "memory": MODES,
    "disable_passes": switches(),
}
"""Names that a setting can have on the command line."""


def add_settings(
    group: Group, heading: str, names: Iterable[str] = (), options: type[Options] = Options
) -> None:
    """A flag for each setting under a heading, or for some of them."""
    for f in fields(options):
        if about(f).group == heading and (not names or f.name in names):
            _add_setting(group, f)


def _add_setting(group: Group, setting: Field[Any]) -> None:
    said = about(setting)
    how: dict[str, Any] = {"dest": setting.name, "help": said.help.replace("%", "%%")}
    if isinstance(setting.default, bool):
        how |= {"action": argparse.BooleanOptionalAction, "default": setting.default}
    elif isinstance(setting.default, tuple):
        names = _names(setting)
        how |= {"action": "append", "default": [], "metavar": said.unit, "choices": names}
        how["help"] += f": {', '.join(names)}{SEVERAL}" if names else SEVERAL
    else:
        how |= {
            "type": place if said.unit == "FILE" else of_word(said.read),
            "choices": _names(setting),
        }
        how |= {"metavar": said.unit or None, "default": _shown(said, setting.default)}
    group.add_argument(flag_of(setting), **how)


def _names(setting: Field[Any]) -> list[str] | None:
    names = CHOICES.get(setting.name)
    return None if names is None else list(names)


def _shown(said: About, default: Any) -> Any:
    """A default as a person would write it."""
    return f"{default // 2**20}MiB" if said.read is parse_size and default else default


def settings(
    given: argparse.Namespace, heading: str, options: type[Options] = Options
) -> dict[str, Any]:
    """The flags under a heading as keywords of dl.plan and dl.compile."""
    own = (f.name for f in fields(options) if about(f).group == heading)
    return {name: getattr(given, name) for name in own if name in vars(given)}


def add_device(parser: argparse.ArgumentParser) -> Group:
    """The settings of the device, and --amp."""
    group = parser.add_argument_group("device")
    add_settings(group, "device")
    add_switch(group, "--amp", "the same as --precision bf16")
    return group


def device(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_device` as keywords of dl.plan and dl.compile; ArgumentError names all
    that the device has not, and what to add to the command, or to leave out of it."""
    if options.amp and options.precision == "tf32":
        raise ArgumentError("--amp is bf16", "leave --precision tf32 out")
    if refused := list(_refused(options, options.device)):
        able = [n for n in DEVICES if not list(_refused(options, n))]
        why = f"{options.device} has no {' and no '.join(flag for flag, _ in refused)}"
        raise ArgumentError(why, _way_out(options, [out for _, out in refused], able))
    own = settings(options, "device")
    return {**own, "precision": "bf16"} if options.amp else own


def _refused(options: argparse.Namespace, device: str) -> Iterator[tuple[str, str]]:
    """Flags that ask for what a device has not, and the flag that takes each back."""
    kind = DEVICES[device]
    if options.amp and "bf16" in kind.refused:
        yield "--amp", "--no-amp"
    if options.precision in kind.refused:
        yield f"--precision {options.precision}", "--precision float32"
    if getattr(options, "prefetch", False) and not kind.overlaps_copies:
        yield "--prefetch", "--no-prefetch"


def _way_out(options: argparse.Namespace, outs: list[str], able: list[str]) -> str:
    if getattr(options, "found", None) is not None:  # the run had them, and no flag here says so
        return f"go on with: {typed(options, *outs)}"
    ways = [f"--device {name}" for name in able] + [" ".join(outs)]
    return f"say {' or '.join(ways)}"


def typed(options: argparse.Namespace, *more: str) -> str:
    """The command as it was typed, and what else to type in the place of the same flags."""
    flags = {word.partition(" ")[0] for word in more if " " in word}
    return " ".join([shlex.join(["minidl", *_without(options.typed, flags)]), *more])


def _without(words: Sequence[str], flags: Collection[str]) -> Iterator[str]:
    """A command's words but for some flags and the values behind them."""
    left = iter(words)
    for word in left:
        if word in flags:
            next(left, None)
        elif word.partition("=")[0] not in flags:
            yield word


def elsewhere(options: argparse.Namespace, device: str) -> str:
    """The command as it would run on another device."""
    return typed(options, f"--device {device}", *(out for _, out in _refused(options, device)))


def add_planning(parser: argparse.ArgumentParser) -> Group:
    """The settings of memory."""
    group = parser.add_argument_group("memory")
    add_settings(group, "memory")
    return group


def planning(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_planning` as keywords of dl.plan and dl.compile."""
    return settings(options, "memory")


def planning_of(model: str, batch: int, device: str) -> str:
    """What people wait for while a step is made."""
    more = ", and compiling its kernels" if device == OF_CARDS else ""
    return f"planning {model}, batch {batch}{more}"


OPTIMIZERS: dict[str, Callable[[argparse.Namespace], dl.Optimizer]] = {
    "sgd": lambda o: dl.SGD(o.lr, o.momentum, weight_decay=o.weight_decay),
    "sgd_nesterov": lambda o: dl.SGD(o.lr, o.momentum, weight_decay=o.weight_decay, nesterov=True),
    "adam": lambda o: dl.Adam(o.lr, weight_decay=o.weight_decay),
    "adamw": lambda o: dl.AdamW(o.lr, weight_decay=o.weight_decay),
}


def optimizer(options: argparse.Namespace) -> dl.Optimizer:
    return OPTIMIZERS[options.opt](options)


def network(options: argparse.Namespace) -> dl.Network:
    """The model that the flags name; the model's own image where no flag says otherwise."""
    build: Callable[..., dl.Network] = dl.models.MODELS[options.model]
    if options.image is None:
        return build(options.classes)
    return build(options.classes, (options.image, options.image, model_image(options.model)[2]))
