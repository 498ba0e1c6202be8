"""Figures with units in the pages' prose: each is checked here, or has its source here. What stands
in tables made by `docs.make` and in blocks that tests run is theirs."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping

import pytest

from benchmarks.gpu import machine, rows
from minidl import console, models
from minidl.cards import ARCHITECTURES
from minidl.data.decode import ANYWAY, PIXELS
from minidl.files import archives, tape
from minidl.ir import Lowering
from minidl.ops.pool2d import TEMPORARY
from minidl.options import SCRATCH_LIMIT
from minidl.train import OneCycle
from tests.docs.pages import ROOT, page, words
from tests.docs.test_commands import PRESENT

WHOLE = "docs/performance.md"
"""Made from measurements in one piece; tests/simulator/test_gpu_report.py compares it."""
UNITS = "%|[KMGT]i?B|ms|s|seconds|minutes|times|images/s|million|parameters|points|[MGT]?FLOP"
FIGURE = re.compile(rf"(?<![\w.,*^-])(\d[\d,]*(?:\.\d+)? (?:{UNITS}))(?!\w)")


def parameters(model: str) -> int:
    lowering = Lowering(1, training=False)
    net = models.MODELS[model]()
    net.apply(lowering, "", lowering.input("x", (1, *net.image), "float32"))
    kept = {v.tensor for site in lowering.sites for v in site.variables}
    return sum(t.size for t in kept if t.kind == "parameter")


def mib(count: float) -> str:
    return f"{count / 2**20:,.4g} MiB" if count < 1000 * 2**20 else f"{count / 2**20:,.0f} MiB"


def shown_arena() -> str:
    """Of the table on the page, which a test compares with the code."""
    found = re.search(r"^\* arena +([\d.]+) MiB", page("docs/tutorial.md"), re.MULTILINE)
    assert found
    return f"{float(found[1]):.0f} MiB"


CONV, FC = 128 * 224 * 224 * 64 * 4, 25_088
"""Bytes of what VGG-16's second convolution reads at batch 128; features of its first Linear."""
PAPER = "the abstract of the paper of 2016, and the announcement: docs/sources.md"
TITLE = "recompute=0.01, of which the table's column is made: docs/plans.py"
README = "tests/docs/test_readme.py compares it with the file of the measurement"

GROWING = inspect.signature(console.growing).parameters

KNOWN: Mapping[str, Mapping[str, Callable[[], str] | str]] = {
    "README.md": {
        "1 %": TITLE,
        "5 %": "recompute=0.05, which benchmarks/cpu_step.py asks for",
        "4.22 %": README,
        "0.6 MiB": README,
        "1.36 times": README,
        "0.7 s": README,
        "20 s": README,
    },
    "benchmarks/gpu/README.md": {
        "12 GiB": lambda: f"{machine.LIMIT >> 30} GiB",
        "16 MiB": lambda: f"{(rows.LARGEST >> 20) + 1} MiB",
    },
    "docs/adding_a_layer.md": {"256 KiB": lambda: f"{TEMPORARY >> 10} KiB"},
    "docs/architecture.md": {
        "200 times": lambda: f"{archives.EXPANSION} times",
        "50 times": lambda: f"{tape.EXPANSION} times",
    },
    "docs/cards.md": {
        "2 %": "minidl/cards.py: memory // 50",
        "512 MiB": "minidl/cards.py: kept",
        "23.68 GiB": "a user's report, linked beside it",
    },
    "docs/cli.md": {
        "10 seconds": lambda: f"{GROWING['least'].default:.0f} seconds",
        "10 minutes": lambda: f"{GROWING['most'].default / 60:.0f} minutes",
    },
    "docs/faq.md": {
        "89 million": lambda: f"{PIXELS // 10**6} million",
        "16.8 million": lambda: f"{ANYWAY / 10**6:.3g} million",
    },
    "docs/memory.md": {
        "1,568 MiB": lambda: mib(CONV),
        "6,272 MiB": lambda: mib(4 * CONV),
        "3,136 MiB": lambda: mib(2 * CONV),
        "144 KiB": lambda: f"{64 * 9 * 64 * 4 >> 10} KiB",
        "12.25 MiB": lambda: mib(128 * FC * 4),
        "392 MiB": lambda: mib(FC * 4096 * 4),
        "40 %": PAPER,
        "44.7 %": PAPER,
        "1 %": TITLE,
        "32 MiB": lambda: mib(SCRATCH_LIMIT),
        "2 %": "minidl/cards.py: memory // 50",
        "512 MiB": "minidl/cards.py: kept",
        "5 %": "recompute=0.05: docs/larger.py",
        "72.4 %": "torchvision's table of weights, named beside it",
        "78.3 %": "torchvision's table of weights, named beside it",
    },
    "docs/roofline.md": {
        "62 %": lambda: f"{100 * ARCHITECTURES['sm_90a'].mma:.0f} %",
        "80 GB": "the name of the card",
        "25.9 ms": lambda: f"{64e3 / 2470:.1f} ms",
    },
    "docs/sources.md": {"44.7 %": PAPER, "40 %": PAPER},
    "docs/tutorial.md": {
        "162 MB": "the authors' page, linked beside it",
        "17.6 MiB": "the size of the archive that the page was run with",
        "176 MiB": lambda: f"{60_000 * 32 * 32 * 3 / 2**20:.0f} MiB",
        "308,394 parameters": lambda: f"{parameters('vgg_small'):,} parameters",
        "92 MiB": shown_arena,
        "30 %": lambda: f"{100 * OneCycle().share:.0f} %",
    },
}
"""By page: what code computes it, or where it is from."""


def prose(text: str) -> str:
    """Without what is made or run, and without code in lines."""
    for what in (r"<!-- begin .*?<!-- end [^>]*-->", r"^```.*?^```$", r"`[^`]*`"):
        text = re.sub(what, " ", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


@pytest.mark.parametrize("name", [name for name in PRESENT if name != WHOLE])
def test_every_figure_of_a_page_is_known(name: str) -> None:
    found = set(FIGURE.findall(prose(page(name))))
    known = KNOWN.get(name, {})
    assert found - known.keys() == set(), "check it, or say where it is from: KNOWN"
    assert known.keys() - found == set(), "it is no longer on the page"


@pytest.mark.parametrize(
    ("name", "figure"), [(name, figure) for name, known in KNOWN.items() for figure in known]
)
def test_a_figure_is_what_code_computes(name: str, figure: str) -> None:
    source = KNOWN[name][figure]
    assert (source() if callable(source) else figure) == figure
    assert callable(source) or len(source) > 10


# -- claims ----------------------------------------------------------------------------------------

GOLDEN = json.loads((ROOT / "tests/compiler/golden.json").read_text("utf-8"))


def gap(case: str) -> str:
    found = GOLDEN[case]
    return f"{100 * (found['arena_bytes'] / found['order_lower_bound_bytes'] - 1):.2f} %"


def test_which_orders_are_optimal() -> None:
    """docs/memory.md, by the plans that tests/compiler/test_golden.py holds."""
    memory = words(page("docs/memory.md"))
    assert (
        "On AlexNet, VGG, VGG-BN and the ResNets the order reaches it, so it is optimal" in memory
    )
    for case in ("alexnet b128", "vgg16 b128", "vgg19 b64", "vgg16_bn b64", "resnet50 b64"):
        assert gap(case) == "0.00 %", case
    assert gap("googlenet b64") != "0.00 %"


def test_which_placements_are_tight() -> None:
    assert "On AlexNet, VGG and ResNet it is." in words(page("docs/memory.md"))
    for case in ("alexnet b128", "vgg16 b128", "vgg16_bn b64", "resnet50 b64"):
        assert GOLDEN[case]["arena_bytes"] == GOLDEN[case]["max_load_bytes"], case


def test_what_is_said_of_the_ablation() -> None:
    """The words below the table are what its rows say."""
    text = page("docs/memory.md")
    made = re.search(r"<!-- begin ablation -->\n(.*?)<!-- end ablation -->", text, re.DOTALL)
    assert made
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in made[1].splitlines()[3:]]
    more = {row[0].removeprefix("without ").strip("`"): row[2::2] for row in rows}
    del more["fuse_updates` and `hoist_updates"]
    large, small, resnet, densenet = (
        sorted(more, key=lambda name, k=k: -float(more[name][k].replace(",", "")))  # type: ignore[misc]
        for k in range(4)
    )
    assert large[:2] == ["pack_masks", "commute_selections"]
    assert small[0] == "fuse_updates"
    assert set(resnet[:2]) == set(densenet[:2]) == {"hoist_updates", "recompute"}


def test_a_figure_in_prose_is_found() -> None:
    text = "It takes 0.09 s,\nand 33.5 % of `5 MiB`.\n\n```text\n7 GiB\n```\nv1.2 s 3 steps"
    assert FIGURE.findall(prose(text)) == ["0.09 s", "33.5 %"]
