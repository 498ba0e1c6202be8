"""All ops and steps under the race checker and the address sanitizer; and mutants that must fail.

A mutant is one wrong line in a copy of `kernels/`: a barrier dropped, a wait or an index off by
one, an in-place pair that is not safe. Each says which check has to find it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from minidl.checkout import kernels_folder
from tests.layers.harness import SEED
from tests.simulator.bench import ERRORS, check_case
from tests.simulator.build import COMPILER
from tests.simulator.checked import drawn_cases, one_a_template, templates
from tests.simulator.device import SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import batches, options
from tests.training import train

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

ROOT = Path(__file__).parents[2]


def checked(variant: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tests.simulator.checked` under a checker, in a process of its own."""
    more = {"MINIDL_SIMULATOR": variant, "PYTHONPATH": str(ROOT), "MINIDL_TEST_SEED": str(SEED)}
    if variant == "address":
        asked = ["g++", "-print-file-name=libasan.so"]
        library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        more |= {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-m", "tests.simulator.checked", *arguments]
    return subprocess.run(
        command, env={**os.environ, **more}, capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("variant", "precision"),
    # TF32 loads as float32 does, and multiplies as bf16 does
    [
        ("address", "float32"),
        ("race", "float32"),
        pytest.param("race", "tf32", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_found(variant: str, precision: str) -> None:
    """Every kernel template."""
    cases = len(one_a_template(precision))
    assert_finds_nothing(variant, precision, "templates", cases, steps=False)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("variant", ["address", "race"])
def test_nothing_is_found_in_any_case(variant: str, precision: str) -> None:
    """A third of the cases in a session, and the steps, whose kernels are fused."""
    assert_finds_nothing(variant, precision, "drawn", len(drawn_cases()))


def assert_finds_nothing(
    variant: str, precision: str, cases: str, count: int, steps: bool = True
) -> None:
    more = ["--steps"] if steps else []
    done = checked(variant, "--cases", cases, "--precision", precision, *more)
    assert done.returncode == 0, done.stderr[-4000:]
    ran = len(NETWORKS) if steps else 0
    assert done.stdout.splitlines()[-1] == f"{variant}: {count} ops, {ran} steps"


@pytest.mark.parametrize("precision", ERRORS)
def test_few_cases_have_every_template(precision: str) -> None:
    few, every = (
        set().union(*(templates(case, precision) for case in cases))
        for cases in (one_a_template(precision), [case for _, case in TABLE])
    )
    assert few == every


@dataclass(frozen=True)
class Mutant:
    """`old` in `file` becomes `new`; `case` in `precision` must then fail under `variant`.

    A case that is a network is training steps of it, `arena` against `naive`.
    """

    id: str
    file: str
    old: str
    new: str
    case: str
    precision: str = "float32"
    variant: str = "plain"


BARRIER, NONE = "        __syncthreads();\n", ""
CONV = "conv2d-3x3"
FEW = "conv2d-few-channels-many-pixels"
GROUPS = "conv2d-groups"
BEFORE_LEFT = """            for (int s = 0; s < g.kernel[1]; s++) {
                const int w = left"""

MUTANTS = [
    Mutant(
        "reduction-barrier",
        "reduce.cuh",
        "shared.at[line][lane] = sum;\n" + BARRIER,
        "shared.at[line][lane] = sum;\n",
        CONV,
    ),
    Mutant(
        "divergent-barrier",
        "reduce.cuh",
        BARRIER + "        if (line || column >= p.columns) return;\n",
        "        if (column >= p.columns) return;\n" + BARRIER + "        if (line) return;\n",
        CONV,
    ),
    Mutant(
        "simt-first-barrier",
        "simt.cuh",
        "put<B, BN>(from_b, shared.b[0]);\n" + BARRIER,
        "put<B, BN>(from_b, shared.b[0]);\n",
        CONV,
    ),
    Mutant(
        "simt-stage-barrier",
        "simt.cuh",
        "            }\n            __syncthreads();\n",
        "            }\n",
        CONV,
        variant="race",
    ),
    Mutant("wait-off-by-one", "tensor_core.cuh", "<STAGES - 2>", "<STAGES - 1>", CONV, "bf16"),
    Mutant(
        "pipeline-barrier",
        "tensor_core.cuh",
        "            wait_copies<STAGES - 2>();\n            __syncthreads();\n",
        "            wait_copies<STAGES - 2>();\n",
        CONV,
        "tf32",
    ),
    Mutant(
        "copy-before-barrier",
        "tensor_core.cuh",
        "            __syncthreads();\n            begin(more, *free);\n",
        "            begin(more, *free);\n            __syncthreads();\n",
        "conv2d-many-channels",
        "bf16",
        "race",
    ),
    Mutant(
        "fragment-rows",
        "tensor_core.cuh",
        "a[i] = round_tf32(from[Tile::of(i % 2 * 8, i / 2 * 4)]);",
        "a[i] = round_tf32(from[Tile::of(i / 2 * 8, i % 2 * 4)]);",
        CONV,
        "tf32",
    ),
    Mutant(
        "matrix-order",
        "tensor_core.cuh",
        "Tile::of(lane / 16 * 8, lane % 16)",
        "Tile::of(lane / 8 % 2 * 8, lane % 8 + lane / 16 * 8)",
        "conv2d-many-channels",
        "bf16",
    ),
    Mutant(
        "tap",
        "conv2d.cu",
        "Offset>(k.high * dilation[0],",
        "Offset>((k.high + 1) * dilation[0],",
        CONV,
    ),
    Mutant("edge", "conv2d.cu", "uint32(x.h) < uint32", "uint32(x.h) <= uint32", CONV),
    Mutant("carry", "gemm.cuh", "stage.middle + low_left", "stage.middle", CONV),
    Mutant("carry-too", "gemm.cuh", "stage.high + middle_left", "stage.high", CONV),
    Mutant("carried", "gemm.cuh", "uint32(rest)));", "uint32(digit)));", CONV),
    Mutant("phase", "conv2d.cu", "first[0] + i", "i", "conv2d-stride-2"),
    Mutant("last-k", "gemm.cuh", " && step.k < depth", "", "linear-small"),
    Mutant(
        "group", "gemm.cuh", "n0 + column + group * p.result", "n0 + column + 0 * p.result", GROUPS
    ),
    Mutant(
        "split",
        "gemm.cuh",
        "int split = 0; split < p",
        "int split = 1; split < p",
        "conv2d-many-tiles",
    ),
    Mutant(
        "pool-edge",
        "pool2d.cu",
        "g.height) continue;\n" + BEFORE_LEFT,
        "g.height + 1) continue;\n" + BEFORE_LEFT,
        "pool2d-max-3-by-1",
    ),
    Mutant("pool-first", "pooled.cuh", "if (first || more)", "if (true)", "pool2d-max-2"),
    Mutant(
        "lrn-in-place",
        "lrn.cu",
        "const float scale = p.response.scale(shared.x + (i - c), c);\n            p.y",
        "const float scale = p.response.scale((const float*)p.x + first * channels + (i - c), c);\n"
        "            p.y",
        "lrn-lrn",
    ),
    Mutant(
        "lrn-overrun",
        "lrn.cu",
        "        for (int i = threadIdx.x; i < count; i += blockDim.x)\n            shared.x[i] =",
        "        for (int i = threadIdx.x; i <= p.pixels_of_a_block * channels; i += blockDim.x)\n"
        "            shared.x[i] =",
        "lrn-lrn",
        variant="address",
    ),
    Mutant(
        "softmax-reduction-barrier",
        "reduce.cuh",
        "    __syncthreads();  // an earlier reduction may still be read\n",
        NONE,
        "loss-entropy",
        variant="race",
    ),
    Mutant(
        "softmax-in-place-barrier",
        "loss.cu",
        "        __syncthreads();  // the label's logit is read before",
        "        //",
        "loss-entropy",
    ),
    Mutant("signs", "signs.cu", "(7 - j - v)", "(6 - j - v)", "googlenet_shaped"),
    Mutant(
        "rows-barrier",
        "gemm.cuh",
        "            __syncthreads();\n            if (exists) give_rows",
        "            if (exists) give_rows",
        CONV,
        "bf16",
        "address",
    ),
    Mutant(
        "rows-before-barrier",
        "gemm.cuh",
        "            __syncthreads();\n            tile.each_piece",
        "            tile.each_piece",
        CONV,
        "bf16",
        "race",
    ),
    Mutant(
        "rows-swapped",
        "gemm.cuh",
        "data + place(row, column + first)",
        "data + row * PITCH + column + first",
        CONV,
    ),
    Mutant(
        "windows-order",
        "conv2d.cu",
        "window.middle * BH + inside / BW",
        "window.middle * BH + inside % BW",
        "vgg_shaped",
    ),
    Mutant("staged-barrier", "gemm.cuh", "wait_copies<0>();\n        __syncthreads();", NONE, CONV),
    Mutant("staged-edge", "conv2d.cu", "q < width ? (int64(n)", "q <= width ? (int64(n)", CONV),
    Mutant("staged-lead", "conv2d.cu", "+ lead + p", "+ p", FEW),
    Mutant("staged-box", "conv2d.cu", "(block - first) * box_size", "block * box_size", FEW),
    Mutant("unpooled-tap", "pooled.cuh", "h % H * W + w % W", "w % W * H + h % H", "vgg_shaped"),
    Mutant(
        "packed-place",
        "pooled.cuh",
        "return taps >> c % PLACES * BITS;",
        "return taps;",
        "vgg_shaped",
    ),
    Mutant(
        "late-stage",
        "tensor_core.cuh",
        "            end(more, *free);",
        "            end(left > STAGES, *free);",
        "vgg_shaped",
        "bf16",
    ),
    Mutant("dropout-word", "dropout.cu", "words.at[j + v]", "words.at[j]", "dropout-half"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutant_is_found(mutant: Mutant, tmp_path: Path) -> None:
    shutil.copytree(kernels_folder(), tmp_path / "kernels")
    file = tmp_path / "kernels" / mutant.file
    text = file.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, "the line that the mutant changes is not there once"
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    if mutant.variant == "plain":
        assert any(_fails(mutant, device) for device in _devices(file.parent)), "not found"
        return
    where = ("--cases", mutant.case, "--precision", mutant.precision)
    done = checked(mutant.variant, *where, "--sources", str(file.parent))
    assert done.returncode != 0, "not found"
    words = {"race": ["race: "], "address": ["AddressSanitizer", "runtime error: "]}
    assert any(word in done.stderr for word in words[mutant.variant]), done.stderr[-2000:]
    if mutant.precision != "float32":  # without the mutation: `test_nothing_is_found` has these
        whole = checked(mutant.variant, *where)
        assert whole.returncode == 0, whole.stderr[-2000:]


def _devices(sources: Path) -> list[SimulatedDevice]:
    """Several orders of the threads, and copies early and late."""
    orders = [SimulatedDevice(seed=seed, sources=sources) for seed in range(4)]
    orders += [SimulatedDevice(order, sources=sources) for order in ("ascending", "descending")]
    return [replace(device, eager_copies=eager) for device in orders for eager in (False, True)]


def _fails(mutant: Mutant, device: SimulatedDevice) -> bool:
    try:
        if mutant.case in NETWORKS:
            network = NETWORKS[mutant.case]()
            how = options(mutant.case, device=device, precision=mutant.precision)
            data = batches(network)
            assert train(network, data, "arena", **how) == train(network, data, "naive", **how)
            return False
        (case,) = (case for name, (_, case) in zip(IDS, TABLE, strict=True) if name == mutant.case)
        check_case(case, mutant.precision, device)
    except AssertionError:
        return True
    return False
