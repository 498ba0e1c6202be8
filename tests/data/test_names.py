"""Lists of images as workers get them: in memory that all of them share."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from minidl.data import (
    Arrays,
    ImageFolder,
    ImageTar,
    ImageZip,
    Loader,
    RandomResizedCrop,
    Source,
    Subset,
)
from minidl.data.names import Names
from minidl.data.recipe import Recipe
from minidl.data.ring import Shape, file_with, read_parts
from minidl.data.source import taken
from minidl.data.worker import job_of
from tests.data.images import folder_of

TEXTS = ["a/b.png", "", "ä/日.png", "a/\udcff.png", "a" * 300, "", "z"]
"""The fourth is no UTF-8."""


def test_names_are_the_texts() -> None:
    names = Names(TEXTS)
    assert [names[i] for i in range(len(names))] == TEXTS
    assert [names[i] for i in range(-len(names), 0)] == TEXTS
    with pytest.raises(IndexError):
        names[len(TEXTS)]
    order = np.random.default_rng().permutation(len(TEXTS))
    chosen = names.taken(order[:4])
    assert [chosen[i] for i in range(4)] == [TEXTS[i] for i in order[:4]]
    assert len(Names([])) == 0


@pytest.mark.parametrize("sizes", [[], [0], [5, 0, 64, 1], [1, 100_000, 7]])
def test_parts_come_back_where_they_lie(sizes: list[int]) -> None:
    made = [memoryview(np.random.default_rng().bytes(size)) for size in sizes]
    assert [bytes(part) for part in read_parts(file_with(made))] == [bytes(part) for part in made]


SHAPE = Shape(2, 4, (8, 8, 3), "uint8")


def job(source: Source) -> list[memoryview]:
    return job_of(Recipe(source, RandomResizedCrop(8), 4, 0, True, "refuse"), SHAPE)


@pytest.fixture(params=["folder", "tar", "tar.gz", "zip"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    folder = folder_of(tmp_path / "images", classes=3, each=7)
    if request.param == "folder":
        return ImageFolder(folder)
    kind = {"tar": "tar", "tar.gz": "gztar", "zip": "zip"}[request.param]
    path = shutil.make_archive(str(tmp_path / "packed"), kind, folder)
    return ImageZip(path) if kind == "zip" else ImageTar(path)


def test_the_pickle_does_not_grow_with_the_images(source: Source) -> None:
    """What does lies beside it, once for all workers."""
    many = np.resize(np.arange(len(source)), 20_000)
    pickled, *arrays = job(Subset(source, many))
    assert pickled.nbytes < 2_000
    assert sum(a.nbytes for a in arrays) > 20_000 * 8
    recipe, _ = pickle.loads(pickled, buffers=read_parts(file_with([pickled, *arrays]))[1:])
    for i in np.random.default_rng().integers(0, 20_000, 5).tolist():
        assert recipe.source.name(i) == source.name(int(many[i]))
        assert recipe.source.read(i) == source.read(int(many[i]))
        assert recipe.source.labels[i] == source.labels[many[i]]


def test_arrays_lie_beside_it_too() -> None:
    images = np.random.default_rng().integers(0, 255, (300, 8, 8, 3), np.uint8)
    pickled, *arrays = job(Arrays(images, np.arange(300) % 3))
    assert pickled.nbytes < 2_000
    assert images.tobytes() in [bytes(a) for a in arrays]


def test_a_subset_takes_its_own_names_alone(source: Source) -> None:
    own = taken(Subset(source, [5, 2, 20]))
    assert [own.name(i) for i in range(len(own))] == [source.name(i) for i in (5, 2, 20)]
    assert [own.read(i) for i in range(len(own))] == [source.read(i) for i in (5, 2, 20)]
    assert own.labels.tolist() == source.labels[[5, 2, 20]].tolist()
    assert own.classes == source.classes
    whole, few = (sum(p.nbytes for p in job(s)) for s in (source, Subset(source, [1])))
    assert few < whole


def test_a_subset_of_a_subset_takes_its_own_too(source: Source) -> None:
    nested = Subset(Subset(source, [5, 2, 20, 7]), [3, 1])
    own = taken(nested)
    assert not isinstance(own, Subset)
    assert [own.name(i) for i in range(len(own))] == [source.name(i) for i in (7, 2)]
    assert [own.read(i) for i in range(len(own))] == [source.read(i) for i in (7, 2)]
    assert own.labels.tolist() == nested.labels.tolist()


def test_batches_are_those_of_no_workers(source: Source) -> None:
    subset = Subset(source, np.random.default_rng().permutation(len(source))[:13])
    found = []
    for workers in (0, 2):
        loader = Loader(subset, 4, transform=RandomResizedCrop(8), seed=3, workers=workers)
        found.append([(i.copy(), n.copy()) for e in (0, 1) for i, n in loader.epoch(e)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
