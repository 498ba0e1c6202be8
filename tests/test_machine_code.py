"""Counting main loops in a disassembly."""

from __future__ import annotations

import pytest

from benchmarks.machine_code import NEVER, arithmetic, counted, functions, rounds
from benchmarks.main_loops import COLUMNS, row
from minidl.roofline.counts import shape_of

TEXT = """
	.section	.text.Gemm_1,"ax",@progbits
.text.Gemm_1:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E R2, [R4.64] ;
        /*0020*/               @P1 BRA `(.L_x_1) ;
.L_x_3:
        /*0030*/                   IADD3 R40, R122, 0x2, RZ ;
        /*0040*/              @!P0 BRA `(.L_x_2) ;
        /*0050*/              @!PT LDS RZ, [RZ] ;
        /*0060*/                   LDGSTS.E.BYPASS.128 [R51], [R28.64], P1 ;
        /*0070*/                   ISETP.GE.AND P0, PT, R28, c[0x0][0x1a4], PT ;
.L_x_2:
        /*0080*/                   LDSM.16.M88.4 R28, [R142] ;
        /*0090*/                   HMMA.16816.F32.BF16 R100, R28.reuse, R48, R100 ;
        /*00a0*/                   HMMA.16816.F32.BF16 R84, R28.reuse, R46, R84 ;
        /*00b0*/              @!P0 BRA `(.L_x_3) ;
        /*00c0*/                   STG.E [R4.64], R2 ;
        /*00d0*/                   LDG.E R2, [R4.64] ;
        /*00e0*/                   LDG.E R3, [R4.64] ;
        /*00f0*/                   STG.E [R4.64], R2 ;
.L_x_4:
        /*0100*/                   BRA `(.L_x_4);
	.section	.text.sum_2,"ax",@progbits
.text.sum_2:
        /*0000*/                   FFMA R1, R2, R3, R1 ;
        /*0010*/                   MUFU.RCP R1, R1 ;
        /*0020*/                   EXIT ;
"""


def test_the_main_loop_is_what_has_the_arithmetic() -> None:
    code = functions(TEXT)
    assert set(code) == {"Gemm_1", "sum_2"}
    loop = code["Gemm_1"].main_loop()
    assert len(loop) == 9
    assert arithmetic(loop, tensor=True) == 2
    assert counted(loop) == {
        **{"tensor": 2, "branch": 2},
        **dict.fromkeys(("ldmatrix", "integer", "predicate", "cp.async", NEVER), 1),
    }
    assert not code["sum_2"].main_loop()
    assert counted(code["sum_2"].instructions) == {"multiply-add": 1, "other": 1, "branch": 1}
    assert rounds(code["Gemm_1"].instructions) == 2


@pytest.mark.parametrize(("share", "stages"), [("32, 8", 1), ("16, 8", 2)])
def test_a_row_is_of_one_stage(share: str, stages: int) -> None:
    """The loop above has two tensor instructions: one stage of one tile, two of another."""
    name = f"Gemm<TensorCore<Bf16, 32, 32, 16, {share}, 4, true>>"
    found = row(name, "sm_80", (40, 4096, 3), functions(TEXT)["Gemm_1"])
    assert tuple(found) == COLUMNS
    assert found["tensor"] == str(2 // stages)
    assert found["a stage"] == str(round(9 / stages))
    assert (found["registers"], found["shared bytes"], found["blocks"]) == ("40", "4096", "3")
    assert (found["code"], found["LDG"], found["STG"], found["rounds"]) == ("17", "3", "2", "2")


def test_a_kernel_without_a_loop_is_no_row() -> None:
    with pytest.raises(ValueError, match="no main loop was found"):
        row("Gemm<Simt<32, 32, 16, 4, 4, true>>", "sm_80", (1, 1, 1), functions(TEXT)["sum_2"])


def test_every_loop_is_known_by_its_name() -> None:
    assert shape_of("Gemm<TensorCore<Bf16, 128, 128, 32, 64, 32, 3, true>, ...>").arithmetic == 32
    assert shape_of("Gemm<TensorCore<Tf32, 128, 128, 16, 64, 32, 4, true>, ...>").arithmetic == 32
    assert shape_of("Gemm<Simt<128, 64, 16, 8, 4, true>, ...>").arithmetic == 512
    with pytest.raises(ValueError, match="no main loop"):
        shape_of("Elementwise<4, relu_forward>")
