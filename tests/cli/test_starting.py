"""Ctrl-C at any moment is one line: while modules are imported, and while Python ends."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

PRESS = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == at:
            signal.raise_signal(signal.SIGINT)
at, *sys.argv = sys.argv[1:]
sys.meta_path.insert(0, Press)
runpy.run_module("minidl", run_name="__main__")
"""

MOMENTS = [
    *("contextlib", "minidl.cli", "argparse", "minidl.cli.parser", "minidl.console"),
    *("minidl.cli.train", "numpy", "numpy.linalg", "numpy.random", "numpy.random.mtrand"),
    *("minidl.ir", "minidl.compiler", "tqdm", "minidl.train", "minidl.predict"),
]
"""Modules that Ctrl-C is pressed at, as they are asked for."""


def pressed(moment: str, *words: str) -> tuple[int, str, str]:
    how = [sys.executable, "-c", PRESS, moment, "minidl", *words]
    done = subprocess.run(how, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_at_every_import(moment: str) -> None:
    assert pressed(moment, "train", "--config", "nowhere") in (
        (130, "", "minidl: interrupted\n"),
        (2, "", "minidl train: error: --config nowhere: No such file or directory\n"),
    )


def test_at_some_import() -> None:
    moment = random.SystemRandom().choice(MOMENTS[1:])
    found = pressed(moment, "train", "--config", "nowhere")
    assert found == (130, "", "minidl: interrupted\n"), moment


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    """A shell's background job."""
    code = PRESS.replace("signal.default_int_handler", "signal.SIG_IGN")
    how = [sys.executable, "-c", code, "minidl.cli", "minidl", "--version"]
    done = subprocess.run(how, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.startswith("minidl "), done.stderr) == (0, True, "")


def test_once_all_is_done_the_process_just_ends() -> None:
    code = """
import atexit, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv = ["minidl", "--version"]
runpy.run_module("minidl", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("minidl ")
    assert done.stderr == ""


@pytest.mark.slow
def test_without_docstrings_and_asserts_it_says_and_does_the_same() -> None:
    """`python -OO`."""
    words = ("-m", "minidl", "plan", "--model", "lenet", "-b", "1", "--classes", "10")
    for more in (("--help",), ("--summary",)):
        plain, stripped = (
            subprocess.run(
                [sys.executable, *flags, *words, *more], cwd=ROOT, capture_output=True, text=True
            )
            for flags in ((), ("-OO",))
        )
        assert plain.returncode == stripped.returncode == 0
        assert stripped.stdout == plain.stdout != ""
        assert stripped.stderr == ""
