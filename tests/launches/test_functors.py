"""Functors that are templates in kernels/ are named with their arguments, wherever they stand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from minidl.checkout import kernels_folder
from minidl.ir import Contract, Fusion, Op, Tensor
from minidl.ops.cuda.elementwise import ELEMENTWISE
from minidl.ops.cuda.operands import pixel_pitch, sink
from minidl.ops.cuda.rules import KERNELS, functor_name
from minidl.ops.linear import linear_dgrad
from minidl.ops.sums import gradient_sum

STRUCT = re.compile(r"^(template <[^\n]*>\n)?struct (\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)


def functors(of_templates: bool) -> set[str]:
    """Structs of kernels/ that are called on the floats of one element."""
    return {
        name
        for path in kernels_folder().glob("*.cu")
        for template, name, body in STRUCT.findall(path.read_text(encoding="utf-8"))
        if re.search(r"operator\(\)\(\s*float&", body) and bool(template) == of_templates
    }


def test_every_template_states_its_arguments() -> None:
    assert {"relu_forward", "sgd_momentum", "batchnorm2d_dgrad"} < functors(of_templates=False)
    stated = {f.__name__ for f, kernel in KERNELS.items() if kernel.template is not None}
    assert functors(of_templates=True) == stated


OWN = {f: kernel for f, kernel in KERNELS.items() if kernel.file.folder is None}


def test_every_functor_is_in_the_file_that_it_is_stated_with() -> None:
    stated = {f.__name__: kernel.file.name for f, kernel in OWN.items() if kernel.launches is None}
    assert len(stated) > 20
    for name, file in stated.items():
        text = (kernels_folder() / file).read_text(encoding="utf-8")
        assert re.search(rf"^struct {name} \{{", text, re.MULTILINE), f"{name} is not in {file}"


def test_a_family_has_one_stem() -> None:
    """Its functions, its rules and its C++; copies have none of their own."""
    stems = {path.stem for path in kernels_folder().glob("*.cu")}
    for function, kernel in OWN.items():
        family = function.__module__.rpartition(".")[2]
        assert Path(kernel.place.rpartition(":")[0]).stem == family
        assert kernel.file.stem == family or kernel.file == ELEMENTWISE
        stems.discard(family)
    assert not stems, "C++ that no rule names"


def test_a_template_keeps_its_arguments_as_an_epilogue() -> None:
    parts = tuple(Tensor(name, (2, 8), "bfloat16", "gradient") for name in "abc")
    total = Tensor("total", (2, 8), "bfloat16", "gradient")
    elementwise = Contract(elementwise=True)
    follower = Op(gradient_sum, "add", "dgrad", (total,), parts, contract=elementwise)
    main = Op(linear_dgrad, "linear", "dgrad", parts[:1], ())
    fused = replace(main, writes=(total,), fusion=Fusion(main, epilogue=follower))
    kind, _ = sink(fused, total, pixel_pitch)
    assert functor_name(follower) == "gradient_sum<bf16>"
    assert kind == "Into<bf16, gradient_sum<bf16>, Out<bf16>, Value, In<bf16>, In<bf16>>"
