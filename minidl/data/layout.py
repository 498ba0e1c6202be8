"""What folders mean: splits, classes, images, and what is none of them. Pure, for any tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from minidl.data.source import few
from minidl.data.tree import DEEPEST, Inside, Item, Passed, Tree
from minidl.files.contents import Parts
from minidl.ir import ArgumentError

EXTENSIONS = (".jpg", ".jpeg", ".png")
USUAL = (*EXTENSIONS, *(suffix.upper() for suffix in EXTENSIONS))
LAYOUT = f"<class>/<anything>, with {', '.join(EXTENSIONS)} in any case"

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""By a split's name, what its folder is called, in any case."""


@dataclass(frozen=True)
class Images(Generic[Item]):
    """The images of one split: by class, each image's path below the folder of the classes."""

    top: Parts
    """The folder of the classes."""
    classes: dict[str, dict[str, Item]]
    passed: Passed


def is_image(name: str) -> bool:
    return name.endswith(USUAL) or name.lower().endswith(EXTENSIONS)


def split_of(name: str) -> str | None:
    """Which split a folder of this name holds."""
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def splits_in(tree: Tree[Item], top: Parts = ()) -> tuple[dict[str, Parts], Passed]:
    """By a split's name its folder, where one is to train on and others are not; else none.

    ArgumentError where two folders are of one split, or where all are splits and none is to train
    on.
    """
    top, inside, passed = _descended(tree, top)
    named = {name: split for name in inside.folders if (split := split_of(name))}
    found = {split: (*top, name) for name, split in named.items()}
    if len(named) < 2 or ("train" not in found and len(named) < len(inside.folders)):
        return {}, Passed()
    where = "/".join((tree.where, *top))
    if len(found) < len(named):
        raise ArgumentError(f"{where}: two folders for one split: {few(named)}", "keep one of them")
    if "train" not in found:
        raise ArgumentError(
            f"{where}: has {' and '.join(named)}, and no folder to train on",
            f"name one of them, or add {where}/train",
        )
    for name in inside.files:
        passed.file(*top, name)
    for name in inside.folders:
        if name not in named:
            passed.folder(*top, name)
    return found, passed


def require_unsplit(tree: Tree[Item], top: Parts = ()) -> None:
    """ArgumentError where the folders are splits, not classes."""
    found, _ = splits_in(tree, top)
    if found:
        where = "/".join((tree.where, *top))
        raise ArgumentError(
            f"{where}: has splits, not classes: {', '.join('/'.join(p) for p in found.values())}",
            "take them all with minidl.data.open_data, or name one of them",
        )


def images_in(tree: Tree[Item], top: Parts = ()) -> Images[Item]:
    """The classes below a folder: the folders in it, or, where it has just one and that has others
    in it, those of that one.

    ArgumentError where there is no image, or a class has none.
    """
    given = "/".join((tree.where, *top))
    top, inside, passed = _descended(tree, top)
    for name in inside.files:
        passed.file(*top, name)
    classes = {name: _images(tree, (*top, name), passed) for name in inside.folders}
    empty = [name for name, images in classes.items() if not images]
    if len(empty) == len(classes):
        loose = [name for name in inside.files if is_image(name)]
        found = f"images in no class's folder, {few(loose)}" if loose else "no image found"
        raise ArgumentError(f"{given}: {found}; expected {LAYOUT}")
    if empty:
        raise ArgumentError(
            f"{'/'.join((tree.where, *top))}: no image in {len(empty)} of {len(classes)} classes: "
            f"{few(empty)}; expected {LAYOUT}",
            "put images into each class's folder, or remove it",
        )
    return Images(top, classes, passed)


def _descended(tree: Tree[Item], top: Parts) -> tuple[Parts, Inside, Passed]:
    """The first folder, from `top` down, that has images or not just one folder in it, or whose
    one folder is a class: it has images, or no folders."""
    passed = Passed()
    inside = tree.inside(top, passed)
    for _ in range(DEEPEST):
        if len(inside.folders) != 1 or any(map(is_image, inside.files)):
            break
        below, more = (*top, inside.folders[0]), Passed()
        there = tree.inside(below, more)
        if not there.folders or any(map(is_image, there.files)):
            break
        for name in inside.files:
            passed.file(*top, name)
        passed.update(more)
        top, inside = below, there
    return top, inside, passed


def _images(tree: Tree[Item], folder: Parts, passed: Passed) -> dict[str, Item]:
    """The images of a class, by their paths from the folder of the classes on."""
    found: dict[str, Item] = {}
    for parts, files in tree.below(folder, passed):
        above = "/".join((*parts[len(folder) - 1 :], ""))
        for name, item in files.items():
            if item is not None and is_image(name):
                found[above + name] = item
            else:
                passed.file(*parts, name)
    return found


def told(passed: Passed) -> tuple[str, ...]:
    """What was passed over, in words; nothing where there is none."""
    kinds = (("file", passed.files), ("folder", passed.folders))
    return tuple(
        f"{len(names):,} {what if len(names) == 1 else what + 's'} passed over: {few(names)}"
        for what, names in kinds
        if names
    )
