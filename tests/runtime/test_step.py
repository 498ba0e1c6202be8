"""Step: predictions, counters and the arena, while training goes on undisturbed."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.devices import cpu
from minidl.ir import Array
from tests.training import random_batches, state_bits

BATCH, IMAGE, CLASSES = 4, (8, 8, 3), 5


def network() -> dl.Network:
    """Batch statistics, dropout, convolution and matrices."""
    layers = dl.Sequential(
        dl.Conv2d(6, 3, padding=1),
        dl.BatchNorm2d(),
        dl.ReLU(),
        dl.MaxPool2d(2),
        dl.Flatten(),
        dl.Dropout(0.5),
        dl.Linear(16),
        dl.ReLU(),
        dl.Linear(CLASSES),
    )
    x = dl.Input(IMAGE)
    return dl.Network(x, layers(x, name=""))


def made_images(count: int) -> Array:
    return np.random.default_rng(count).normal(size=(count, *IMAGE))


def batches(count: int) -> list[tuple[Array, Array]]:
    return random_batches(np.random.default_rng(7), BATCH, IMAGE, CLASSES, count)


@pytest.fixture(params=[dl.SGD(0.05, 0.9), dl.AdamW(0.01)], ids=["momentum", "adamw"])
def optimizer(request: pytest.FixtureRequest) -> dl.Optimizer:
    chosen: dl.Optimizer = request.param
    return chosen


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("memory", MODES)
def test_predict_does_not_disturb_training(
    memory: str, debug: bool, optimizer: dl.Optimizer
) -> None:
    how = {"optimizer": optimizer, "memory": memory, "debug": debug}
    asked, left = (dl.compile(network(), BATCH, **how) for _ in range(2))
    asked.predict(made_images(BATCH + 1))
    for images, labels in batches(3):
        assert asked(images, labels) == left(images, labels)
        before = state_bits(asked)
        asked.predict(made_images(2 * BATCH + 3))
        assert state_bits(asked) == before == state_bits(left)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_is_put_and_then_trained_on(accumulate: int) -> None:
    asked, left = (dl.compile(network(), BATCH, accumulate=accumulate) for _ in range(2))
    with pytest.raises(dl.ArgumentError, match="put"):
        asked.start()
    for images, labels in batches(3):
        given = images.copy()
        asked.put(given, labels)
        asked.predict(made_images(2 * BATCH))  # in the bytes where the batch lay
        loss = asked.start()
        given[:] = np.nan  # the batch is on its way
        assert loss() == left(images, labels)
    with pytest.raises(dl.ShapeError):
        asked.put(made_images(BATCH + 1), labels)
    with pytest.raises(dl.ArgumentError, match="put"):
        asked.start()


def test_feeding_gives_every_loss_also_where_a_batch_is_no_good() -> None:
    asked, left = (dl.compile(network(), BATCH) for _ in range(2))
    given = [*batches(3), (made_images(BATCH + 1), np.zeros(BATCH, int))]
    fed = asked.feed(given)
    assert [next(fed) for _ in range(3)] == [left(*batch) for batch in given[:3]]
    with pytest.raises(dl.ShapeError):
        next(fed)


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 2])
def test_predict_takes_any_number_of_images(count: int) -> None:
    step = dl.compile(network(), BATCH)
    for images, labels in batches(2):
        step(images, labels)
    given = made_images(count)
    found = step.predict(given)
    assert found.shape == (count, CLASSES)
    assert found.dtype == np.float32
    for i in range(count):
        np.testing.assert_allclose(
            found[i], step.predict(given[i : i + 1])[0], rtol=1e-5, atol=1e-6
        )
    assert found.tobytes() == step.predict(given).tobytes()


def test_a_prediction_is_the_callers_own() -> None:
    step = dl.compile(network(), BATCH)
    first = step.predict(made_images(2))
    kept = first.copy()
    step.predict(made_images(3))
    step(*batches(1)[0])
    assert not np.shares_memory(first, step.arena.bytes)
    np.testing.assert_array_equal(first, kept)


def test_predict_uses_running_statistics_and_no_dropout() -> None:
    x = dl.Input((2, 2, 1))
    y = dl.Dropout(0.9)(dl.BatchNorm2d()(x, name="bn"))
    step = dl.compile(dl.Network(x, dl.Linear(1)(dl.Flatten()(y), name="fc")), 2)
    step.array("bn.running_mean")[...] = 3
    step.array("bn.running_var")[...] = 4 - 1e-5
    step.array("fc.weight")[...] = 1
    step.array("fc.bias")[...] = 0
    found = step.predict(np.full((5, 2, 2, 1), 7.0))
    np.testing.assert_allclose(found, np.full((5, 1), 8.0), rtol=1e-6)


def test_steps_are_counted() -> None:
    step = dl.compile(network(), BATCH)
    for done, (images, labels) in enumerate(batches(3)):
        assert step.steps == done
        step.predict(made_images(1))
        step(images, labels)
    assert step.steps == 3


def test_the_loss_is_that_of_the_weights_before_the_step() -> None:
    x = dl.Input(3)
    step = dl.compile(dl.Network(x, dl.Linear(2)(x, name="fc")), 4, precision="float64")
    generator = np.random.default_rng(0)
    images, labels = generator.normal(size=(4, 3)), generator.integers(0, 2, 4)
    for _ in range(3):
        logits = images @ step.array("fc.weight").T + step.array("fc.bias")
        terms = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), labels]
        assert step(images, labels) == pytest.approx(terms.mean(), rel=1e-12)


def test_training_learns() -> None:
    step = dl.compile(network(), BATCH, optimizer=dl.SGD(0.05, 0.9))
    images, labels = batches(1)[0]
    losses = [step(images, labels) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_the_learning_rate_is_a_value_in_the_arena() -> None:
    step = dl.compile(network(), BATCH, optimizer=dl.SGD(0.5))
    assert step.learning_rate == 0.5
    step.learning_rate = 0.125
    assert step.array("learning_rate") == 0.125 == step.learning_rate
    assert np.shares_memory(step.array("learning_rate"), step.arena.bytes)


def test_state_dict_goes_out_and_in_all_or_nothing() -> None:
    source, target = (dl.compile(network(), BATCH, seed=seed) for seed in (1, 2))
    source(*batches(1)[0])
    saved = source.state_dict()
    assert not any(np.shares_memory(a, source.arena.bytes) for a in saved.values())
    target.load_state_dict(saved)
    given = made_images(3)
    assert target.predict(given).tobytes() == source.predict(given).tobytes()
    before = state_bits(target)
    names = list(saved)
    wrong = dict(saved) | {names[-1]: np.zeros((1, 2, 3))}
    for bad in (wrong, {n: saved[n] for n in names[1:]}, saved | {"more": np.zeros(3)}):
        with pytest.raises((dl.ShapeError, dl.ArgumentError)):
            target.load_state_dict(bad)
        assert state_bits(target) == before


@pytest.mark.parametrize("memory", MODES)
def test_variables_go_out_and_into_any_mode(memory: str, optimizer: dl.Optimizer) -> None:
    source = dl.compile(network(), BATCH, optimizer=optimizer, seed=1)
    target = dl.compile(network(), BATCH, optimizer=optimizer, seed=2, memory=memory)
    source(*batches(1)[0])
    kept = source.variables_dict()
    assert kept.keys() == set(target.variables)
    assert not any(np.shares_memory(a, source.arena.bytes) for a in kept.values())
    target.load_variables(kept)
    assert state_bits(target) == state_bits(source)
    for images, labels in batches(3):
        assert source(images, labels) == target(images, labels)
    assert state_bits(target) == state_bits(source)


def test_variables_are_taken_all_or_nothing() -> None:
    step = dl.compile(network(), BATCH, optimizer=dl.AdamW())
    kept, before = step.variables_dict(), state_bits(step)
    for array in kept.values():
        array[...] = 1
    name = list(kept)[-1]
    shape, dtype = kept[name].shape, kept[name].dtype
    wrong: list[tuple[dict[str, Array], str]] = [
        (kept | {name: np.ones((2, 7), dtype)}, rf"{name}: expected shape .*got \(2, 7\)"),
        (kept | {name: np.ones(shape)}, rf"{name}: expected dtype float32, got float64"),
        ({n: kept[n] for n in kept if n != name}, rf"missing \['{name}'\], unknown none"),
        (kept | {"more": np.ones(1)}, r"missing none, unknown \['more'\]"),
    ]
    for arrays, message in wrong:
        with pytest.raises((dl.ShapeError, dl.ArgumentError), match=message):
            step.load_variables(arrays)
        assert state_bits(step) == before


# -- the arena -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "size", "memory"),
    [
        ("vgg11_bn", 32, "arena"),
        *(("alexnet", 64, memory) for memory in ("caffe", "arena")),
        *(("resnet18", 64, memory) for memory in ("fujitsu2016", "arena")),
        *(("lenet", 32, memory) for memory in MODES),
    ],
)
def test_a_step_is_one_allocation_of_what_was_planned(
    model: str, size: int, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    allocate = cpu.allocate

    def counted(nbytes: int, alignment: int) -> Array:
        taken.append(nbytes)
        return allocate(nbytes, alignment)

    monkeypatch.setattr(cpu, "allocate", counted)
    monkeypatch.setattr("minidl.runtime.step.Step._set", lambda *_: None)  # leave bytes untouched
    channels = 1 if model == "lenet" else 3
    net = dl.models.MODELS[model](classes=10, image=(size, size, channels))
    planned = dl.plan(net, 4, memory=memory)
    step = dl.compile(net, 4, memory=memory)
    assert taken == [planned.arena_bytes] == [step.plan.arena_bytes]
    assert step.arena.bytes.nbytes == planned.arena_bytes
    assert step.inference_plan.arena_bytes <= planned.arena_bytes
    assert step.arena.bytes.ctypes.data % planned.options.alignment == 0


def test_every_tensor_is_a_view_of_the_arena() -> None:
    step = dl.compile(network(), BATCH)
    start = step.arena.bytes.ctypes.data
    for t, array in step._program.arrays.items():
        assert np.shares_memory(array, step.arena.bytes), t
        assert array.ctypes.data - start == step.plan.offset(t)


@pytest.mark.parametrize("alignment", [16, 64, 4096])
def test_alignment_is_a_setting(alignment: int) -> None:
    step = dl.compile(network(), BATCH, alignment=alignment)
    assert all(a.ctypes.data % alignment == 0 for a in step._program.arrays.values())
