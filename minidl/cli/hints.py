"""Ways out in words of the command line, where a script would be told otherwise."""

from __future__ import annotations

import re
from dataclasses import fields

from minidl.cards import ANYWHERE
from minidl.data.opening import UNDERSTOOD
from minidl.data.recipe import PASS_OVER
from minidl.interop import weights
from minidl.ir import MinidlError
from minidl.options import Options, about, flag_of
from minidl.predict import card, evaluating, images, predictor, trained
from minidl.runtime import arena
from minidl.train import best, same_data

HINTS = {
    ANYWHERE: "--device cpu runs anywhere",
    arena.SMALLER: "use a smaller batch or image, or --memory arena if another mode was chosen",
    PASS_OVER: "--broken skip leaves it out",
    UNDERSTOOD: "--help says what --data-path can be",
    weights.ANOTHER: "it is another network's",
    weights.OTHER_CLASSES: "build the network with the file's number of classes, or use --new-head "
    "to train a classifier of your own (--model, --classes, --image)",
    weights.OTHER_WIDTHS: f"{weights.OTHER_WIDTHS} (--model, --classes, --image)",
    weights.NO_HEAD: "leave --new-head out",
    card.SAY_CONSTANTS: "say it with --mean and --std",
    same_data.CLASSES_BACK: "give the classes their names back, or begin another with --weights",
    same_data.IMAGES_BACK: "take the images that it had, or go on with these: --other-data",
    trained.SAY_MODEL: "say it with --model NAME",
    trained.NEVER_AVERAGED: "the run had no --model-ema, or not yet --model-ema-steps steps",
    evaluating.SAY_NAMES: "say them with --class-names FILE",
    best.NO_BEST: "--checkpoint last takes the last one",
    predictor.SAY_DATA: "say it with --data-path",
    images.LEAVE_SIZE: "leave --image out",
}
"""By the hint that a script is given."""


def in_flags(error: MinidlError) -> str:
    """What an error says, in words that one types: `--slices 2` for slices=2."""
    return _typed(str(error.hinting(HINTS.get(error.hint, error.hint))))


def _typed(text: str) -> str:
    """Text with flags in the place of settings, and without the None that no flag takes."""
    flags = TOGETHER.sub(lambda found: SETTING.sub(_flag, found[0]).replace(", ", " "), text)
    flags = SUBJECT.sub(lambda found: FLAGS[found[0]], flags)
    return flags.replace(", or None, got", ", got")


FLAGS = {f.name: flag_of(f) for f in fields(Options) if about(f).group}
ONE = rf"(?<![\w-])({'|'.join(FLAGS)})=('[^']*'|[\w.-]*\w)"
SETTING, TOGETHER = re.compile(ONE), re.compile(rf"{ONE}(?:, {ONE})*")
SUBJECT = re.compile(rf"(?<![^ ])({'|'.join(FLAGS)})(?= must )")


def _flag(setting: re.Match[str]) -> str:
    flag, value = FLAGS[setting[1]], setting[2].strip("'")
    switches = {"True": flag, "False": flag.replace("--", "--no-", 1)}
    return switches.get(value, f"{flag} {value}")
