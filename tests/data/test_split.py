"""Images held out by a hash: which ones, how many, and what moves when images are added."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from minidl.data import Arrays, HeldOut, Subset, held_out, open_data
from minidl.data.dataset import order_of
from minidl.ir import ArgumentError, Array
from tests.data.images import folder_of


class Named:
    """Images by class and name alone."""

    def __init__(self, *counts: int, start: int = 0) -> None:
        pairs = [(label, i) for label, n in enumerate(counts) for i in range(start, start + n)]
        self.labels = np.array([label for label, _ in pairs], np.int64)
        self.names = [f"c{label}/{i}.jpg" for label, i in pairs]
        self.classes = tuple(f"c{i}" for i in range(len(counts)))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int) -> bytes | Array:
        raise NotImplementedError


def names_of(source: Named, seed: int = 0) -> tuple[set[str], set[str]]:
    splits = held_out(source, seed)
    return tuple({s.name(i) for i in range(len(s))} for s in (splits.train, splits.test))  # type: ignore[return-value]


def test_the_ones_held_out_are_known() -> None:
    """SHA-256 of "seed occurrence name", its first 64 bits below a tenth of 2^64."""
    for seed in (0, 7, 2**64 - 1):
        source = Named(300, 300)
        digests = {n: sha256(f"{seed} 0 {n}".encode()).hexdigest() for n in source.names}
        below = {name for name, digest in digests.items() if int(digest[:16], 16) * 10 < 2**64}
        assert names_of(source, seed)[1] == below
    assert names_of(Named(5, 5))[1] == {"c0/4.jpg", "c1/0.jpg", "c1/2.jpg"}


@pytest.mark.parametrize("seed", range(5))
def test_every_image_is_on_one_side_and_a_tenth_is_held_out(seed: int) -> None:
    source = Named(*[1000] * 10)
    train, test = names_of(source, seed)
    assert not train & test
    assert train | test == set(source.names)
    assert abs(len(test) - 1000) < 4 * np.sqrt(10_000 * 0.09)
    assert all(60 < n < 140 for n in Counter(name.split("/")[0] for name in test).values())


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_small_classes_have_images_on_both_sides(count: int) -> None:
    train, test = names_of(Named(*[count] * 300))
    for side in (train, test):
        assert len({name.split("/")[0] for name in side}) == 300


def test_classes_of_one_image_are_held_out_one_in_ten() -> None:
    assert 60 < len(names_of(Named(*[1] * 1000))[1]) < 140


@pytest.mark.parametrize("count", [2, 3, 5, 10, 30, 100])
def test_what_moves_when_images_are_added(count: int) -> None:
    """To the test only images of classes that were below a tenth all of them; from it only the one
    image of a class that had none below. In large classes nothing moves."""
    before, after = Named(*[count] * 500), Named(*[count + 1] * 500)
    train, test = names_of(before)
    train_after, test_after = names_of(after)
    trained_then_tested, tested_then_trained = train & test_after, test & train_after
    classes = Counter(name.split("/")[0] for name in test)
    for name in trained_then_tested:
        assert classes[name.split("/")[0]] == count - 1
    for name in tested_then_trained:
        assert classes[name.split("/")[0]] == 1
    assert len(trained_then_tested) <= 500 * 10.0 ** (1 - count) + 3
    assert len(tested_then_trained) <= 500 * 0.9**count * (0.1 + 0.9 / (count + 1)) * 1.5 + 3


def test_nothing_else_is_asked_for_than_seed_and_name(tmp_path: Path) -> None:
    """In another process, of another hash seed, in another order."""
    code = (
        "from minidl.data import open_data; s = open_data('photos').test;"
        "print(*sorted(s.name(i) for i in range(len(s))))"
    )
    folder_of(tmp_path / "photos", classes=2, each=12, size=8)
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    held = open_data(tmp_path / "photos").test
    here = {Path(held.name(i)).relative_to(tmp_path).as_posix() for i in range(len(held))}
    assert {frozenset(line.split()) for line in found} == {frozenset(here)}


def test_names_are_the_same_in_either_form_of_unicode(tmp_path: Path) -> None:
    for form, accent in (("nfc", "\u00e9"), ("nfd", "e\u0301")):
        for name in ("a", "b"):
            (tmp_path / form / name).mkdir(parents=True)
            for i in range(40):
                (tmp_path / form / name / f"{accent}{i}.jpg").write_bytes(b"")
    found = [open_data(tmp_path / form).test for form in ("nfc", "nfd")]
    nfc, nfd = ({normalize("NFC", Path(s.name(i)).name) for i in range(len(s))} for s in found)
    assert nfc == nfd


def arrays(count: int = 200, seed: int = 0) -> Arrays:
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    return Arrays(images, np.arange(count) % 4)


def test_arrays_are_held_out_by_their_bytes() -> None:
    """So their order is of no matter, and nothing moves where images are put in front."""
    whole = arrays()
    test = held_out(whole).test
    kept = {test.read(i).tobytes() for i in range(len(test))}  # type: ignore[union-attr]
    order = np.random.default_rng(1).permutation(200)
    moved = held_out(Arrays(whole.images[order], whole.labels[order])).test
    assert {moved.read(i).tobytes() for i in range(len(moved))} == kept  # type: ignore[union-attr]
    more = arrays(40, 1)
    images, labels = (
        np.concatenate([getattr(more, f), getattr(whole, f)]) for f in ("images", "labels")
    )
    after = held_out(Arrays(images, labels)).test
    assert kept <= {after.read(i).tobytes() for i in range(len(after))}  # type: ignore[union-attr]


def test_equal_images_are_held_out_one_in_ten() -> None:
    same = Arrays(np.zeros((1000, 2, 2, 1), np.uint8), np.arange(1000) % 2)
    assert 60 < len(held_out(same).test) < 140
    part = held_out(Subset(arrays(), range(100))).test
    whole = held_out(arrays()).test
    assert len(part) < len(whole)


def test_two_images_are_one_and_one_and_one_is_refused() -> None:
    splits = held_out(Named(1, 1))
    assert (len(splits.train), len(splits.test)) == (1, 1)
    with pytest.raises(ArgumentError, match="one image cannot be split"):
        held_out(Named(1, 0))


def test_the_permutation_of_0_1_0() -> None:
    source = Named(12, 12)
    splits = held_out(source, 3, by="permutation")
    order = order_of(24, 3, 0)
    assert {splits.test.name(i) for i in range(2)} == {source.names[i] for i in order[:2]}
    assert len(splits.train) == 22


def test_ways_to_hold_out_are_words() -> None:
    for how in (HeldOut(), HeldOut(2**64 - 1), HeldOut(7, by="permutation")):
        assert HeldOut.of(str(how)) == how
    assert HeldOut.of("permutation", 5) == HeldOut(5, by="permutation")
    for words in (
        "",
        "none 0",
        "hash -1",
        "hash x",
        "hash 99999999999999999999",
        f"hash {'9' * 99}",
    ):
        with pytest.raises(ArgumentError, match="no way to hold images out"):
            HeldOut.of(words)
