"""Forked children and threads: a step works there to the same bits, or says at once why not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Array
from minidl.ops import host

ROOT = Path(__file__).parents[2]

PARENT = """
import os, signal, threading, time
import numpy as np
import minidl as dl
from minidl import data
from minidl.ops import host

host.cores.cache_clear()
host.cores = lambda: 4  # several lanes, whatever the machine has
X, Y = np.random.default_rng(0).random((64, 16, 16, 3), np.float32), np.arange(64) % 4

def made():
    layers = dl.Conv2d(16, 3, padding=1), dl.ReLU(), dl.Dropout(), dl.Flatten(), dl.Linear(4)
    return dl.compile(dl.Sequential(*layers), 64, image=(16, 16, 3))

def forked(child):
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        signal.alarm(60)
        try:
            said = repr(child())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    assert status == 0, f"the child ended with {status}"
    return said
"""

FORKED: dict[str, tuple[str, str]] = {
    "a step after a step": (
        """
        step, other = made(), made()
        step(X, Y), other(X, Y)
        child = forked(lambda: [step(X, Y) for _ in range(3)])
        assert child == repr([other(X, Y) for _ in range(3)])
        assert step.steps == 1
        print(child == repr([step(X, Y) for _ in range(3)]))
        """,
        "True",
    ),
    "a prediction after one": (
        """
        step = made()
        expected = step.predict(X).tobytes()
        print(forked(lambda: step.predict(X).tobytes() == expected))
        """,
        "True",
    ),
    "a first step": (
        """
        step, other = made(), made()
        print(forked(lambda: step(X, Y)) == repr(other(X, Y)))
        """,
        "True",
    ),
    "a step that the child compiles": (
        """
        expected = repr(made()(X, Y))
        print(forked(lambda: made()(X, Y)) == expected)
        """,
        "True",
    ),
    "a child of a child": (
        """
        step, other = made(), made()
        step(X, Y), other(X, Y)
        print(forked(lambda: (step(X, Y), forked(lambda: step(X, Y)))[1]) ==
              repr(repr([other(X, Y) for _ in range(2)][1])))
        """,
        "True",
    ),
    "a step in another thread": (
        """
        step, go, begun = made(), threading.Event(), threading.Event()
        observe = step._run_next
        def slow(*_):
            begun.set()
            go.wait()
            observe()
        step._run_next = slow
        thread = threading.Thread(target=step, args=(X, Y))
        thread.start()
        begun.wait()
        print(forked(lambda: step(X, Y)))
        go.set()
        thread.join()
        """,
        "ArgumentError: this process was forked after the step was compiled, and another thread "
        "was in a call of it: compile it in the child",
    ),
    "another step in another thread": (
        """
        busy, step, other = made(), made(), made()
        stop = threading.Event()
        def work():
            while not stop.is_set():
                busy(X, Y)
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.3)
        child = forked(lambda: [step(X, Y) for _ in range(3)])
        stop.set()
        thread.join()
        print(child == repr([other(X, Y) for _ in range(3)]))
        """,
        "True",
    ),
    "a step on a GPU": (
        """
        step = made()
        type(step.arena.device).on_host = False  # as CudaDevice says of itself
        print(forked(lambda: step(X, Y)))
        """,
        "ArgumentError: this process was forked after the step was compiled, and its arena lies on "
        "a GPU: compile it in the child",
    ),
    "a loader with workers": (
        """
        loader = data.Loader(data.Arrays(X, Y), 16, seed=0, workers=1, copy=True)
        read = lambda: [images.sum().item() for images, _ in loader.epoch(0)]
        expected = repr(read())
        child = forked(lambda: (read(), loader.close())[0])
        print(child == expected == repr(read()))
        loader.close()
        """,
        "True",
    ),
}
"""What a child does after what its parent did, and what is printed."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("name", FORKED)
def test_a_forked_child(name: str) -> None:
    script, expected = FORKED[name]
    code = PARENT + textwrap.dedent(script)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == expected


# -- threads ---------------------------------------------------------------------------------------

X = np.random.default_rng(0).random((8, 4, 4, 3), np.float32)
Y = np.arange(8) % 4


def made() -> dl.Step:
    net = dl.Sequential(dl.Conv2d(4, 3), dl.ReLU(), dl.Flatten(), dl.Linear(4))
    return dl.compile(net, 8, image=(4, 4, 3))


def together(*tasks: object) -> None:
    threads = [threading.Thread(target=task) for task in tasks]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


CALLS, THREADS = 150, 4


def test_blas_has_its_threads_again() -> None:
    """Whoever began first and whoever ends last."""
    if (blas := host._openblas()) is None:
        pytest.skip("another BLAS")
    set_threads, get_threads = blas
    before = get_threads()
    try:
        for count in (2, 3):
            set_threads(count)
            steps = [made() for _ in range(THREADS)]
            together(*(lambda s=s: [s(X, Y) for _ in range(CALLS)] for s in steps))
            assert get_threads() == count
    finally:
        set_threads(before)


def test_blas_is_single_until_the_last_ends() -> None:
    if (blas := host._openblas()) is None:
        pytest.skip("another BLAS")
    set_threads, get_threads = blas
    before = get_threads()
    set_threads(2)
    first, second = host.single_threaded_blas(), host.single_threaded_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert get_threads() == 1
    second.__exit__(None, None, None)
    assert get_threads() == 2
    set_threads(before)


def bits(step: dl.Step) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in step.variables_dict().items()}


def test_one_step_in_several_threads_loses_no_call() -> None:
    step, other = made(), made()
    together(*[lambda: [step(X, Y) for _ in range(CALLS)]] * THREADS)
    for _ in range(CALLS * THREADS):
        other(X, Y)
    assert step.steps == CALLS * THREADS
    assert bits(step) == bits(other)


def test_each_thread_gets_its_own_batch() -> None:
    """With a rate of 0 a loss is the batch's alone, whatever other threads train on."""
    step = made()
    step.learning_rate = 0
    batches = [(X, np.full(8, k)) for k in range(THREADS)]
    expected = [step(*batch) for batch in batches]
    assert len(set(expected)) == THREADS
    found: list[set[float]] = [set() for _ in batches]

    def call(k: int) -> None:
        found[k] = {step(*batches[k]) for _ in range(CALLS)}

    def feed(k: int) -> None:
        found[k] = set(step.feed([batches[k]] * CALLS))

    for work in (call, feed):
        together(*(lambda k=k, work=work: work(k) for k in range(THREADS)))
        assert found == [{loss} for loss in expected]


def test_predictions_beside_steps() -> None:
    step = made()
    step.learning_rate = 0
    expected, loss = step.predict(X).tobytes(), step(X, Y)
    seen: set[bytes] = set()
    losses: set[float] = set()

    def predict() -> None:
        seen.update(step.predict(X).tobytes() for _ in range(CALLS))

    def train() -> None:
        losses.update(step(X, Y) for _ in range(CALLS))

    together(predict, train, predict, train)
    assert seen == {expected}
    assert losses == {loss}


def test_a_state_dict_is_of_one_moment() -> None:
    """Two layers that are updated alike stay alike in whatever is read meanwhile."""
    x = dl.Input(4)
    zero = dl.initial.constant(0.5)
    parts = (dl.Linear(3, initial=zero, initial_bias=zero)(x, name=name) for name in "ab")
    step = dl.compile(dl.Network(x, dl.Add()(*parts)), 8)
    flat, stop = X[:, 0, 0, :1].repeat(4, axis=1), threading.Event()
    read: list[dict[str, Array]] = []

    def train() -> None:
        for _ in range(CALLS):
            step(flat, Y % 3)
        stop.set()

    def look() -> None:
        while not stop.is_set():
            read.append(step.state_dict())

    together(train, look)
    assert read
    assert all(np.array_equal(now["a.weight"], now["b.weight"]) for now in read)
