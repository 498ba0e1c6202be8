"""Whatever ends a run, no worker and no shared memory stays, and a dead worker is no hang."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minidl.data import Loader, PadCrop, WorkerError, pool, worker
from tests.data.images import Deadly, Faulty, Stuck, small

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc to look at")

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds until something that should happen is taken for never."""


def alive(process: int) -> bool:
    """Whether any thread of a process runs; a zombie that nobody has waited for does not.

    Its first thread can be a zombie while another still holds the process's open files.
    """
    return any(state != "Z" for state in thread_states(process))


def thread_states(process: int) -> list[str]:
    """The letter of /proc for each thread, none where the process is gone."""
    states = []
    for status in Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states.append(status.read_text(encoding="ascii").rpartition(")")[2].split()[0])
    return states


def until(happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < end:
        time.sleep(0.02)
    return happened()


def shared() -> set[str]:
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def nothing_new(before: set[str]) -> bool:
    """Whether what came to shared memory goes again: other processes, too, have theirs there."""
    new = shared() - before
    return until(lambda: not new & shared())


def loader(workers: int = 2, **options: object) -> Loader:
    source = options.pop("source", small())
    return Loader(source, 4, transform=PadCrop(8), seed=0, workers=workers, **options)  # type: ignore[arg-type]


def started(of: Loader) -> list[int]:
    """The process ids of its workers, after one batch."""
    next(iter(of.epoch(0)))
    assert of._pool is not None
    return [worker.process.pid for worker in of._pool.workers]


def fails(of: Loader) -> None:
    for _ in of.epoch(0):
        _ = 1 / 0


@pytest.mark.parametrize("how", ["close", "garbage", "consumer"])
def test_no_worker_stays(how: str) -> None:
    before, descriptors = shared(), len(os.listdir("/dev/fd"))
    made: Loader | None = loader()
    assert made is not None
    workers = started(made)
    assert len(workers) == 2
    assert all(alive(worker) for worker in workers)
    if how == "close":
        made.close()
    elif how == "garbage":
        made = None
        gc.collect()
    else:
        with pytest.raises(ZeroDivisionError), made:
            fails(made)
    assert not any(alive(worker) for worker in workers)
    assert nothing_new(before)
    made = None
    gc.collect()
    assert len(os.listdir("/dev/fd")) == descriptors


def test_workers_outlive_an_epoch_that_is_left_and_serve_the_next() -> None:
    with loader() as made:
        workers = started(made)
        epoch = made.epoch(1)
        next(epoch)
        epoch.close()  # type: ignore[attr-defined]
        assert started(made) == workers


@pytest.mark.parametrize("when", ["idle", "busy"])
def test_killed_worker_is_named_and_the_others_end(when: str) -> None:
    with loader() as made:
        workers = started(made)
        epoch = made.epoch(0)
        if when == "busy":
            next(epoch)
        os.kill(workers[1], signal.SIGKILL)
        assert until(lambda: not alive(workers[1]))  # the others could end the epoch before
        with pytest.raises(WorkerError, match=rf"worker 1 \(process {workers[1]}\).*-9.*SIGKILL"):
            list(epoch)
        assert not any(alive(worker) for worker in workers)
        assert len(list(made.epoch(0))) == 10


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_that_dies_at_a_image_is_no_hang(workers: int) -> None:
    source = Deadly(small().images, small().labels)
    with loader(workers, source=source) as made, pytest.raises(WorkerError, match="SIGKILL"):
        list(made.epoch(0))


def test_exception_in_a_worker_comes_with_its_traceback() -> None:
    source = Faulty(small().images, small().labels)
    with loader(source=source) as made, pytest.raises(WorkerError, match="exit code 1") as caught:
        list(made.epoch(0))
    assert "seven is not to be had" in str(caught.value)
    assert "in read" in str(caught.value)


def test_stuck_worker_is_named_after_some_time() -> None:
    source = Stuck(small().images, small().labels)
    made = loader(1, source=source, silence=2.0)
    with made, pytest.raises(WorkerError, match=r"no batch for 2 s from worker 0"):
        list(made.epoch(0))


def test_source_that_cannot_be_sent_is_refused() -> None:
    source = small()
    object.__setattr__(source, "title", lambda: "no pickle")
    with pytest.raises(WorkerError, match="use workers=0"):
        list(loader(source=source).epoch(0))


SCRIPT = """
import sys, time
import numpy as np
from minidl.data import Arrays, Loader, PadCrop

images = Arrays(np.zeros((64, 8, 8, 3), np.uint8), np.zeros(64, int))
loader = Loader(images, 4, transform=PadCrop(8), seed=0, workers=2)
for epoch in range(10**6):
    for number, batch in enumerate(loader.epoch(epoch)):
        if epoch == number == 0:
            print(*(worker.process.pid for worker in loader._pool.workers), flush=True)
        {body}
"""


def script(body: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A script without a main guard, as a notebook has none, that has begun to train."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", SCRIPT.format(body=body)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, [int(number) for number in process.stdout.readline().split()]


@pytest.mark.parametrize("named", ["json", "mmap", "numpy", "minidl", "sitecustomize", "site"])
def test_nothing_of_the_current_folder_is_run(tmp_path: Path, named: str) -> None:
    """Started with -I the parent has no current folder on its path, so its workers have none."""
    mark = tmp_path / "mark"
    (tmp_path / f"{named}.py").write_text(f"open({str(mark)!r}, 'w')")
    ends = SCRIPT.format(body="sys.exit(0)")
    begins = f"import sys; sys.path.append({str(ROOT)!r})\n"
    subprocess.run(
        [sys.executable, "-I", "-c", begins + ends], cwd=tmp_path, check=True, timeout=PATIENCE
    )
    assert not mark.exists()


def test_a_worker_has_the_path_that_its_parent_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the parent's order, `''` as the folder that it means; one that is no text is left out."""
    monkeypatch.setattr(sys, "path", ["", "/b", "/a", b"/bytes"])
    assert worker.import_path()[:-1] == [os.getcwd(), "/b", "/a"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signal_to_the_parent_leaves_nothing(sent: signal.Signals) -> None:
    before = shared()
    process, workers = script("time.sleep(0.01)")
    assert len(workers) == 2
    process.send_signal(sent)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == -sent
    assert until(lambda: not any(alive(worker) for worker in workers))
    assert nothing_new(before)
    assert ("KeyboardInterrupt" in errors) == (sent == signal.SIGINT)
    assert "Exception ignored" not in errors
    assert "ResourceWarning" not in errors
    assert "leaked" not in errors


@pytest.mark.parametrize("body", ["sys.exit(3)", "raise RuntimeError('in the consumer')"])
def test_end_of_the_interpreter_leaves_nothing(body: str) -> None:
    before = shared()
    process, workers = script(body)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == (3 if "exit" in body else 1)
    assert not any(alive(worker) for worker in workers)
    assert nothing_new(before)
    assert "ResourceWarning" not in errors


def test_workers_ignore_the_interrupt() -> None:
    with loader() as made:
        for worker in started(made):
            os.kill(worker, signal.SIGINT)
        assert len(list(made.epoch(0))) == 10


def test_a_forked_child_does_not_end_the_workers() -> None:
    with loader() as made:
        workers = started(made)
        child = os.fork()
        if child == 0:
            made.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert all(alive(worker) for worker in workers)
        assert sum(len(labels) for _, labels in made.epoch(0)) == 40


def test_threads_of_the_parent_do_no_harm() -> None:
    """The BLAS has threads, which a forked child would wait for in vain."""
    square = np.ones((500, 500))
    assert (square @ square).sum() == 500**3
    with loader() as made:
        assert len(list(made.epoch(0))) == 10


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_interrupt_while_waiting_leaves_a_loader_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with loader() as made:
        workers = started(made)
        monkeypatch.setattr(pool, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(made.epoch(0))
        monkeypatch.undo()
        assert not any(alive(worker) for worker in workers)
        assert len(list(made.epoch(0))) == 10


@pytest.mark.parametrize("own", [{}, {"MALLOC_TRIM_THRESHOLD_": "4096"}])
def test_a_worker_keeps_the_memory_of_its_images(
    own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user has said otherwise, who is heard first."""
    for name in worker.MALLOC:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    with Loader(small(), 4, transform=PadCrop(8), seed=0, workers=1) as loader:
        next(iter(loader.epoch(0)))
        (process,) = (w.process.pid for w in loader._pool.workers)  # type: ignore[union-attr]
        said = Path(f"/proc/{process}/environ").read_text(encoding="utf-8").split("\0")
    wanted = worker.MALLOC | own
    assert {f"{name}={value}" for name, value in wanted.items()} <= set(said)
