"""Batches: the same whatever makes them, in order, from any point on, in bounded memory."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.data import (
    Arrays,
    BrokenImageError,
    ImageFolder,
    Loader,
    PadCrop,
    RandomResizedCrop,
    Source,
    batches,
    decoded,
    evaluation,
    training,
)
from minidl.ir import ArgumentError, Array, ShapeError
from tests.data.images import encoded, folder_of, pixels, real_data, small

Read = list[tuple[Array, Array]]


def read(loader: Loader, epoch: int = 0, start: int = 0) -> Read:
    return [(images.copy(), labels.copy()) for images, labels in loader.epoch(epoch, start)]


def same(first: Read, second: Read) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a, c) and np.array_equal(b, d)
        for (a, b), (c, d) in zip(first, second, strict=True)
    )


@pytest.fixture
def folder(tmp_path: Path) -> ImageFolder:
    return ImageFolder(folder_of(tmp_path / "images", classes=3, each=7))


def test_any_number_of_workers_gives_the_same_bits(folder: ImageFolder) -> None:
    transform = RandomResizedCrop(24)
    expected = None
    for workers in (0, 1, 4):
        with Loader(folder, 4, transform=transform, seed=7, workers=workers) as loader:
            got = [read(loader, epoch) for epoch in (0, 1)]
        expected = expected or got
        assert len(got[0]) == 5
        assert got[0][0][0].shape == (4, 24, 24, 3)
        assert got[0][0][0].dtype == np.uint8
        assert all(map(same, got, expected))
        assert not same(got[0], got[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_from_its_middle(folder: ImageFolder, workers: int) -> None:
    with Loader(folder, 2, transform=RandomResizedCrop(16), seed=1, workers=workers) as loader:
        whole = read(loader, 3)
        assert same(read(loader, 3, start=4), whole[4:])
        assert read(loader, 3, start=len(loader)) == []
    with Loader(folder, 2, transform=RandomResizedCrop(16), seed=1, workers=workers) as fresh:
        assert same(read(fresh, 3, start=7), whole[7:])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_left_early_does_no_harm(workers: int) -> None:
    with Loader(small(), 4, transform=PadCrop(8), seed=1, workers=workers, ring=3) as loader:
        expected = read(loader, 1)
        for stop in range(4):
            for number, _ in enumerate(loader.epoch(0)):
                if number == stop:
                    break
            assert same(read(loader, 1), expected)
        older = loader.epoch(0)
        next(older)
        assert same(read(loader, 1), expected)


def test_an_older_epoch_ends_when_another_begins() -> None:
    with Loader(small(), 4, transform=PadCrop(8), seed=1, workers=1, ring=2) as loader:
        older, newer = loader.epoch(0), loader.epoch(1)
        next(older)
        next(newer)
        with pytest.raises(ArgumentError, match="another epoch"):
            next(older)
        assert len(list(newer)) == 9


def test_the_order_is_that_of_batches() -> None:
    source = small()
    loader = Loader(source, 6, seed=4)
    expected = batches(source.images, source.labels, 6, seed=4, epoch=2)
    assert same(read(loader, 2), list(expected))


@pytest.mark.parametrize("workers", [0, 2])
def test_last_batch_and_order_of_an_evaluation(workers: int) -> None:
    source = small(count=11)
    loader = Loader(source, 4, seed=0, shuffle=False, drop_last=False, workers=workers)
    with loader:
        got = read(loader)
    assert len(loader) == len(got) == 3
    assert np.array_equal(np.concatenate([images for images, _ in got]), source.images)
    assert np.array_equal(np.concatenate([labels for _, labels in got]), source.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_floats_pass_as_they_are(workers: int) -> None:
    images = np.random.default_rng(0).standard_normal((9, 5, 4, 2)).astype(np.float32)
    source = Arrays(images, np.arange(9))
    with Loader(source, 3, seed=0, shuffle=False, workers=workers) as loader:
        assert np.array_equal(np.concatenate([x for x, _ in read(loader)]), images)


@pytest.mark.parametrize("workers", [0, 1])
def test_views_are_used_again_and_copies_are_not(workers: int) -> None:
    with Loader(small(), 4, seed=0, workers=workers, ring=2 * workers) as loader:
        addresses = {images.ctypes.data for images, _ in loader.epoch(0)}
    assert len(addresses) == max(1, 2 * workers)
    with Loader(small(), 4, seed=0, workers=workers, copy=True) as loader:
        expected = read(loader)
        assert same(list(loader.epoch(0)), expected)


def test_memory_is_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loader(small(), 4, transform=PadCrop(8), seed=0, workers=2, ring=3) as loader:
        assert loader.ring_bytes == 3 * (4 * 8 * 8 * 3 + 64)
        in_flight = []
        for _ in loader.epoch(0):
            assert loader._pool is not None
            in_flight.append(sum(worker.orders for worker in loader._pool.workers))
            assert in_flight[-1] + len(loader._pool._done) + len(loader._pool._free) <= 2
    assert max(in_flight) <= 2
    assert Loader(small(), 4, transform=PadCrop(8), seed=0, workers=2).shape.slots == 4


def test_arrays_outlive_the_loader() -> None:
    with Loader(small(), 4, transform=PadCrop(8), seed=0, workers=1) as loader:
        for images, labels in loader.epoch(0):
            kept, number = images, labels
    assert kept.sum() > 0
    assert len(number) == 4


def broken(folder: ImageFolder) -> str:
    """Damages one image, returns its name."""
    name = folder.name(5)
    Path(name).write_bytes(Path(name).read_bytes()[:100])
    return name


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_image_is_refused_by_name(folder: ImageFolder, workers: int) -> None:
    name = broken(folder)
    with Loader(
        folder, 3, transform=training(16), seed=0, shuffle=False, workers=workers
    ) as loader:
        epoch = loader.epoch(0)
        next(epoch)
        with pytest.raises(BrokenImageError, match=name):
            next(epoch)
        assert len(read(loader, 0, start=2)) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_image_is_skipped_counted_and_reported(folder: ImageFolder, workers: int) -> None:
    intact = read(Loader(folder, 1, transform=evaluation(16), seed=0, shuffle=False))
    name = broken(folder)
    loader = Loader(
        folder, 3, transform=evaluation(16), seed=0, shuffle=False, workers=workers, broken="skip"
    )
    with loader:
        with pytest.warns(UserWarning, match=f"skipped: {name}"):
            got = read(loader)
        assert list(loader.skipped) == [name]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(read(loader), got)
    assert np.array_equal(got[1][0][2], intact[6][0][0])
    assert got[1][1][2] == folder.labels[6]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_images_are_left_out_where_images_are_measured(
    folder: ImageFolder, workers: int
) -> None:
    """One batch is smaller, one that has no image is none; no other image takes a place."""
    how: dict[str, Any] = {"seed": 0, "shuffle": False, "drop_last": False}
    intact = read(Loader(folder, 1, transform=evaluation(16), **how))
    names = [folder.name(i) for i in (3, 4, 5, 7)]
    for name in names:
        Path(name).write_bytes(b"no image")
    how |= {"transform": evaluation(16)}
    with Loader(folder, 3, workers=workers, broken="leave_out", **how) as loader:
        with pytest.warns(UserWarning, match="skipped"):
            got = read(loader)
        assert list(loader.skipped) == names
    images, labels = (np.concatenate(arrays) for arrays in zip(*got, strict=True))
    kept = [i for i in range(21) if i not in (3, 4, 5, 7)]
    assert [len(labels) for _, labels in got] == [3, 2, 3, 3, 3, 3]
    assert np.array_equal(images, np.concatenate([intact[i][0] for i in kept]))
    assert labels.tolist() == folder.labels[kept].tolist()


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(3):
        (tmp_path / "a" / f"{i}.jpg").write_bytes(b"no image")
    loader = Loader(ImageFolder(tmp_path), 2, transform=training(8), seed=0, broken="skip")
    with pytest.raises(BrokenImageError, match="no image of the source"):
        next(iter(loader.epoch(0)))


def test_pixel_limit_is_passed_on(folder: ImageFolder) -> None:
    loader = Loader(folder, 2, transform=training(8), seed=0, pixels=100)
    with pytest.raises(BrokenImageError, match="more than the 100 allowed"):
        next(iter(loader.epoch(0)))


class Uneven(Arrays):
    def read(self, index: int) -> Array:
        return super().read(index)[: 8 - (index == 3)]


def test_a_image_of_another_size_is_refused() -> None:
    source = Uneven(small().images, small().labels)
    with pytest.raises(ShapeError, match="image 3"):
        read(Loader(source, 4, seed=0, shuffle=False))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"batch": 41},
        {"seed": -1},
        {"seed": 2**64},
        {"workers": -1},
        {"workers": 1, "ring": 1},
        {"broken": "ignore"},
    ],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        Loader(small(), **({"batch": 4, "seed": 0} | wrong))  # type: ignore[arg-type]


def test_epochs_out_of_range_and_missing_transforms_are_refused(folder: ImageFolder) -> None:
    loader = Loader(small(), 4, seed=0)
    for epoch, start in ((-1, 0), (0, -1), (0, 11), (2**32, 0)):
        with pytest.raises(ArgumentError, match="epoch must be in"):
            loader.epoch(epoch, start)
    with pytest.raises(ArgumentError, match="needs a transform"):
        Loader(folder, 4, seed=0)


def test_sources_survive_a_fork(folder: ImageFolder) -> None:
    source: Source = pickle.loads(pickle.dumps(folder))
    child = os.fork() if hasattr(os, "fork") else None
    if child == 0:
        os._exit(0 if source.read(0) == folder.read(0) else 1)
    if child is not None:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_real_photographs(workers: int) -> None:
    source = ImageFolder(real_data("imagenet-sample"))
    with Loader(source, 16, transform=training(224), seed=0, workers=workers) as loader:
        got = read(loader)
    assert len(got) == 8
    assert all(images.std() > 20 for images, _ in got)


def test_decoded_images_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(3):
        (tmp_path / "a" / f"{i}.png").write_bytes(encoded(pixels(8, 8, i), "PNG"))
    source = ImageFolder(tmp_path)
    kept = decoded(source)
    assert np.array_equal(kept.images[2], pixels(8, 8, 2))
    first, second = (Loader(s, 3, transform=PadCrop(8), seed=0) for s in (source, kept))
    assert same(read(first), read(second))
    with pytest.raises(ArgumentError, match="more than"):
        decoded(source, limit=500)
    (tmp_path / "a" / "1.png").write_bytes(encoded(pixels(8, 9), "PNG"))
    with pytest.raises(ShapeError, match=r"1\.png"):
        decoded(source)
