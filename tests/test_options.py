"""A setting is listed once: with one more in the class it is in all that is made from it."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import minidl as dl
from docs.commands import flags_table
from minidl.cli import shells
from minidl.cli.command import Command
from minidl.cli.config import of_run, read_config, saved_flags
from minidl.cli.options import settings
from minidl.cli.parser import Commands
from minidl.keywords import Settings, settings_text, with_keywords
from minidl.options import RENAMED, Options, written
from minidl.placed.file import placed_to_dict
from tests.command_with_one_more import More


@pytest.fixture
def commands() -> Commands:
    return Commands({"try": Command("tests.command_with_one_more")})


def test_a_keyword_with_its_documentation() -> None:
    @with_keywords(More)
    def function(network: object, **changes: Any) -> None:
        """Does nothing."""

    parameter = inspect.signature(function).parameters["dummy"]
    assert parameter.default == 7
    assert "dummy: what nobody needs." in (function.__doc__ or "")


def test_a_line_for_editors() -> None:
    assert "    dummy: int\n" in settings_text(More)


def test_a_flag(commands: Commands) -> None:
    found = commands.parse(["try", "--dummy-number", "9"])
    assert found.dummy == 9
    assert settings(found, "memory", More)["dummy"] == 9
    assert commands.parse(["try"]).dummy == 7


def test_toml(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "flags.toml"
    file.write_text("dummy-number = 9\n")
    assert read_config(file, "try", commands) == {"dummy": 9}


def test_completion(commands: Commands) -> None:
    assert "--dummy-number" in shells.bash(commands.by_name)


def test_the_record_of_a_run(commands: Commands) -> None:
    parser = commands.by_name["try"]
    saved = saved_flags(commands.parse(["try", "--dummy-number", "9"]), parser)
    assert json.loads(json.dumps(saved))["dummy"] == 9
    assert of_run(saved, parser)["dummy"] == 9


def test_the_plan_file() -> None:
    plan = dl.plan(dl.Linear(2), 3, image=(4,))
    options = More(**{f.name: getattr(plan.options, f.name) for f in fields(Options)}, dummy=8)
    assert placed_to_dict(replace(plan, options=options))["dummy"] == 8
    assert written(options)["dummy"] == 8


def test_the_docs(commands: Commands) -> None:
    assert "`--dummy-number N`" in flags_table(commands.by_name["try"])


# -- the class as it is ----------------------------------------------------------------------------


def test_keywords_for_editors_are_those_of_the_class() -> None:
    source = inspect.getsource(Settings)
    assert source.endswith(settings_text(Options)), "run: python -m docs.make"


@pytest.mark.parametrize("function", [dl.plan, dl.compile])
def test_every_setting_is_a_keyword(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    wanted = {f.name for f in fields(Options)} - {"card"}
    assert wanted <= parameters.keys()
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(
        TypeError, match=r"plan\(.*bugdet=1\): it has no bugdet: did you mean budget\?"
    ):
        dl.plan(dl.Linear(2), 3, image=(4,), bugdet=1)  # type: ignore[call-arg]


def test_options_are_values() -> None:
    options = Options(budget="1GiB", disable_passes=["recompute"])  # type: ignore[arg-type]
    assert options.budget == 2**30
    assert options.disable_passes == ("recompute",)
    assert pickle.loads(pickle.dumps(options)) == options == replace(options)
    assert hash(options) == hash(replace(options))
    given = dl.plan(dl.Linear(2), 3, image=(4,), options=options, slices=1)
    assert given.options == options


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(dl.ArgumentError) as names:
        dl.plan(dl.Linear(2), 3, image=(4,), memory="nai", precision="f32", slices=0)
    assert "unknown memory mode 'nai'" in str(names.value)
    assert "unknown precision 'f32'" in str(names.value)
    with pytest.raises(dl.ArgumentError) as values:
        dl.plan(dl.Linear(2), 3, image=(4,), clip_norm=0, slices=4, prefetch=True, accumulate=0)
    for words in (
        "clip_norm must be",
        "accumulate must be",
        r"slices must be in [1, 3]",
        "prefetch",
    ):
        assert words in str(values.value)


def test_renamed_words_are_settings_now() -> None:
    assert set(RENAMED.values()) <= {f.name for f in fields(Options)}


# -- plans are data --------------------------------------------------------------------------------


def test_a_plan_is_pickled_compared_and_printed_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    network = dl.models.lenet(10, (32, 32, 1))
    plan, other = dl.plan(network, 4, clip_norm=1.0), dl.plan(network, 5, clip_norm=1.0)
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan != other
    assert again.recipe.at(5).plan() == other
    assert hash(again) == hash(plan)
    monkeypatch.setattr("minidl.recipe.Planner", None)  # printing never plans
    assert str(plan) == repr(plan) == "lenet, batch 4, arena: 5.74 MiB, optimal"
