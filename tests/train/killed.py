"""A process that trains and saves, killed at any moment: python -m tests.train.killed FOLDER.

For each line of standard input, a delay in seconds, a fork trains on from the folder's last
checkpoint and saves after every step. It is killed that long after it is ready; the answer is the
last step that it said it had saved, 0 for none. A fork has imported everything before it starts.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from itertools import count
from pathlib import Path

from minidl.train import State, latest, load, save
from tests.train.small import compiled, training


def train(folder: Path, said: int) -> None:
    """Go on from the last checkpoint, then save after every step, and write its number."""
    step = compiled()
    path = latest(folder)
    state = State() if path is None else load(path, step)
    batches = list(training().epoch(0))
    os.write(said, b"0\n")
    for steps in count(state.steps + 1):
        step(*batches[steps % len(batches)])
        save(folder, step, State(steps=steps), keep=2)
        os.write(said, b"%d\n" % steps)


def train_and_kill(folder: Path, delay: float) -> int:
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        train(folder, said)
    os.close(said)
    words = os.read(heard, 2)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(heard, "rb") as file:
        return int((words + file.read()).split()[-1])


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside BLAS's idle threads
    for line in sys.stdin:
        print(train_and_kill(Path(sys.argv[1]), float(line)), flush=True)
