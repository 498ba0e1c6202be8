"""Whether a run goes on with the images that it began with."""

from __future__ import annotations

from collections.abc import Mapping

from minidl.console import tell
from minidl.data.fingerprint import Fingerprint
from minidl.ir import ArgumentError

CLASSES_BACK = "give the classes their names back, or begin another run with this one's weights"
IMAGES_BACK = "take the images that it had, or go on with these (other_data=True)"
"""Hints."""

WORDS = {"train": "training", "val": "validation"}


def require_same(
    now: Mapping[str, Fingerprint], before: Mapping[str, Fingerprint], others: bool
) -> None:
    """ArgumentError where classes have other names or another order, since a network knows them by
    their places alone; or where the images are other ones, unless `others` are allowed, which a
    line then says. Of a checkpoint that does not say what its images were, a line says that."""
    if now and not before:
        tell("minidl: the checkpoint does not say which images it was trained on: not compared")
    pairs = {WORDS[name]: (now[name], before[name]) for name in WORDS if name in {*now} & {*before}}
    for name, (own, old) in pairs.items():
        if said := own.other_classes(old):
            raise ArgumentError(
                f"the {name} images have other classes than the checkpoint's: {said}", CLASSES_BACK
            )
    wrong = [
        f"the {name} images are not the checkpoint's: {said}"
        for name, (own, old) in pairs.items()
        if (said := own.other_images(old))
    ]
    if wrong and not others:
        raise ArgumentError("; ".join(wrong), IMAGES_BACK)
    for said in wrong:
        tell(f"minidl: {said}")
