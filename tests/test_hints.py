"""The way out of an error stands in its hint, where commands and callers find it, not in its words.

A way out is an instruction, or what there is to choose from. So no clause of a message begins with
a verb in the imperative, and none offers a choice. What a value or a file must be is no way out: it
says what is wrong.
"""

from __future__ import annotations

import re

import pytest

from tests.messages import HOLE, errors
from tests.test_floors import MODULES

INSTRUCTIONS = """
    add allow ask call change check choose close compile convert drop end export get give go
    increase install keep leave let lower make move multiply name open pass pip put remove resume
    run save say see set state take train try unpack unset update use write"""
"""What an instruction begins with; pip is one as well. A hint that begins with another is found by
a test below, so that the list knows all that are in use."""

OTHERWISE = """
    a device='cpu' did images it labels nvidia-smi the truncated understood --onnx --run"""
"""What other hints begin with: a fact, a question, a flag."""

VERBS = "|".join(INSTRUCTIONS.split())
CLAUSE = re.compile(rf"(?:^|[:;,.?(] |\bor |\band )(?:{VERBS})\b(?! must\b)", re.IGNORECASE)
CHOICE = re.compile(r"\bchoose\b|\bdid you mean\b|\bruns anywhere\b|[:;] there are \{\}|\binstead$")

SAID = list(errors(MODULES))


def way_out(message: str) -> str:
    """The instruction or the choice in a message, if there is one."""
    found = CLAUSE.search(message) or CHOICE.search(message)
    return found[0] if found else ""


def test_no_message_says_the_way_out() -> None:
    found = [(said.where, m, way_out(m)) for said in SAID for m in said.message if way_out(m)]
    assert found == []


def test_every_hint_begins_with_a_word_that_is_known() -> None:
    hints = [hint for said in SAID for hint in said.hint if " " in hint]
    first = {re.split(r"[ ,(]", hint.removeprefix(HOLE))[0] for hint in hints}
    assert len(hints) > 60
    assert first - {*INSTRUCTIONS.split(), *OTHERWISE.split()} == set()
    assert {*OTHERWISE.split()} - first == set()


@pytest.mark.parametrize(
    "message",
    [
        "{}: padding must be >= 0: use more",
        "the array is masked; make it contiguous",
        "a process died. Try fewer",
        "no modes {}: choose from {}",
        "no variable {}: there are {}",
        "the driver is old, or update it",
        "{} is too old; device='cpu' runs anywhere",
        "Use a list",
    ],
)
def test_a_way_out_in_a_message_is_seen(message: str) -> None:
    assert way_out(message)


@pytest.mark.parametrize(
    "message",
    [
        "{}: p must be in [0, 1)",
        "its pickle names {}, which is not allowed: refused; nothing was executed",
        "there are more names than the user gave",
    ],
)
def test_what_is_wrong_is_no_way_out(message: str) -> None:
    assert not way_out(message)
