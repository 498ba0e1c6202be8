"""Reading files of strangers under guard: in a process with limits, which says what came of it.

`python -m tests.files.guarded FOLDER` takes jobs as lines of JSON on standard input and gives an
`Outcome` for each, one a line. A job runs in a fork of its own: what hangs or takes the memory ends
that fork alone. The limits are where it is killed, not what readers promise.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS, BYTES = 2, 500 * 10**6
"""CPU time of one file, and what may be allocated for it."""

BLOCKED = 60
"""Seconds after which a file that takes no CPU time is taken for a hang."""

FORBIDDEN = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "socket.connect", "socket.bind", "pickle.find_class", "os.remove", "os.rename", "os.mkdir",
    "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "shutil.move",
}  # fmt: skip
"""Of Python's audit events: what no reader does."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Job:
    """Files of a reader drawn by a seed, from `first` on; or the file of a named fault."""

    reader: str
    seed: int = 0
    first: int = 0
    count: int = 0
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a job, up to its first file that went wrong."""

    refused: int = 0
    read: int = 0
    said: str = ""
    """Of a fault: the error's words."""
    wrong: str = ""
    """Empty where every file was read or refused as it should be."""


def run(jobs: Sequence[Job], folder: Path) -> list[Outcome]:
    """The outcomes in order, from one process whose home, current and temporary folders are empty
    ones in `folder`; AssertionError where something came to lie there."""
    places = {name: folder / name for name in ("HOME", "TMPDIR", "cwd", "files")}
    for place in places.values():
        place.mkdir()
    root = Path(__file__).parents[2]
    inherited = {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "MINIDL_TEST_SEED"}
    environment = {name: value for name, value in os.environ.items() if name in inherited}
    environment |= {name: str(places[name]) for name in ("HOME", "TMPDIR")}
    environment |= {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(root), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.files.guarded", str(places["files"])],
        input="".join(f"{json.dumps(asdict(job))}\n" for job in jobs),
        capture_output=True,
        cwd=places["cwd"],
        env=environment,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [p for name in ("HOME", "TMPDIR", "cwd") for p in places[name].rglob("*")] == []
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


# -- in the process that guards --------------------------------------------------------------------


def main(folder: Path) -> None:
    from tests.files.readers import READERS

    for reader in READERS.values():
        reader.build()  # what takes long is kept, for all forks
    for number, line in enumerate(sys.stdin):
        own = folder / str(number)
        own.mkdir()
        print(json.dumps(asdict(guarded(Job(**json.loads(line)), own))), flush=True)


def guarded(job: Job, folder: Path) -> Outcome:
    """A job in a fork; how far it came where that is killed."""
    progress, (ours, theirs) = mmap.mmap(-1, 8), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        with os.fdopen(theirs, "w") as out:
            out.write(json.dumps(asdict(carried_out(job, folder, progress))))
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == 0 and text:
        return Outcome(**json.loads(text))
    how = os.waitstatus_to_exitcode(status)
    name = signal.Signals(-how).name if how < 0 else f"exit code {how}"
    at = int.from_bytes(progress[:8], "little")
    return Outcome(
        wrong=f"file {at}: killed by {name}: it hung, took {SECONDS} s of CPU time or fell"
    )


def carried_out(job: Job, folder: Path, progress: mmap.mmap) -> Outcome:
    from tests.files.faults import named
    from tests.files.readers import READERS

    warnings.simplefilter("ignore")
    reader, refused, read = READERS[job.reader], 0, 0
    path = folder / reader.file
    try:
        for name, raw in reader.beside().items():
            (folder / name).write_bytes(raw)
        path.write_bytes(reader.pack(reader.build()))
        reader.read(path)  # whatever is imported late is imported now; and it is a valid file
        path.unlink()
        if job.fault:
            named(job.reader, job.fault)(reader, path)
            limit()
            said = attempt(reader, path)
            return Outcome(refused=int(bool(said)), read=int(not said), said=said)
        limit()
        for number in range(job.first, job.first + job.count):
            progress[:8] = number.to_bytes(8, "little")
            path.write_bytes(drawn(job, number))
            said = attempt(reader, path)
            refused, read = refused + bool(said), read + (not said)
    except BaseException:
        at = int.from_bytes(progress[:8], "little")
        return Outcome(refused, read, wrong=f"file {at}: {traceback.format_exc(limit=-6)}")
    return Outcome(refused, read)


def drawn(job: Job, number: int) -> bytes:
    """File `number` of a reader."""
    from tests.files.mutations import changed, changed_tree
    from tests.files.readers import READERS

    reader = READERS[job.reader]
    rng, inner = random.Random(f"{job.seed} {job.reader} {number}"), reader.build()
    if rng.random() < 0.5 or reader.pack is bytes or reader.tree:
        how = changed_tree if reader.tree and rng.random() < 0.7 else changed
        return reader.pack(how(inner, rng))
    return changed(reader.pack(inner), rng)


def attempt(reader: Any, path: Path) -> str:
    """Read a file: the error's words, empty where it is read.

    Anything but a MinidlError that names the file goes on to the caller, and so does whatever was
    written or started meanwhile.
    """
    from minidl.ir import MinidlError

    timers()
    del seen_events[:]
    watching[:] = [True]
    try:
        reader.read(path)
        said = ""
    except MinidlError as error:
        said = str(error) or "nothing"
        if path.name not in said and reader.file != "plan.json":
            raise AssertionError(f"does not name {path.name}: {said}") from error
    finally:
        watching[:] = [False]
    if seen_events:
        raise AssertionError(f"it did what no reader does: {seen_events[:5]}")
    return said


watching = [False]
seen_events: list[str] = []


def watch(event: str, arguments: Sequence[Any]) -> None:
    if not watching[0]:
        return
    if event in FORBIDDEN or (event == "open" and (arguments[2] or 0) & WRITING):
        seen_events.append(f"{event} {arguments!r:.200}")


def limit() -> None:
    """Of this process, from now on."""
    sys.addaudithook(watch)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def timers() -> None:
    """Both begin anew; nobody catches what they send."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, BLOCKED)


def jobs_of(readers: Iterable[str], seed: int, count: int) -> list[Job]:
    return [Job(name, seed, 0, count) for name in readers]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
