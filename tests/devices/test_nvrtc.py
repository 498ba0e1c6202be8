"""What the compiler at hand prints, refuses and makes; needs NVRTC, no GPU."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("cuda.bindings", reason="NVRTC's bindings are not installed")

from minidl.devices import nvrtc
from minidl.devices.architecture import CodeTarget
from minidl.devices.kernels import Unit
from minidl.devices.nvrtc import CompileError, compile_unit, read_log

WGMMA = """
extern "C" __global__ void multiply(float* y, unsigned long long a, int n) {
    float d[4] = {};
    for (int i = 0; i < n; i++) {
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        asm volatile(
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %4, "
            "1, 1, 1, 0, 0;"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a));
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        MEANWHILE
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
    for (int j = 0; j < 4; j++) y[threadIdx.x * 4 + j] = d[j];
}
"""
"""A product that runs beside the thread, until somebody touches its sums."""


@pytest.mark.parametrize("meanwhile", ["d[0] += 1.f;", "if (n == 7) y[0] = d[1];"])
def test_serialised_wgmma_is_a_warning(meanwhile: str) -> None:
    made = compile_unit(Unit("multiply", WGMMA.replace("MEANWHILE", meanwhile)), "sm_90a")
    assert any("instructions are serialized" in line for line in made.warnings), made.warnings
    assert made.registers > 0


def test_wgmma_that_runs_beside_the_thread_is_none() -> None:
    made = compile_unit(Unit("multiply", WGMMA.replace("MEANWHILE", "")), "sm_90a")
    assert made.warnings == ()
    assert made.registers > 0


def test_a_warning_of_the_frontend_is_one() -> None:
    source = '__device__ int unused() { int never; return 0; }\nextern "C" __global__ void k() {}\n'
    (line, *_) = compile_unit(Unit("k", source), "sm_80").warnings
    assert "warning" in line


def test_what_ptxas_prints_is_read() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Function properties for k
    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers"""
    made = read_log(b"", log)
    assert (made.registers, made.stack_bytes, made.spilled_bytes) == (168, 16, 12)
    assert made.warnings == ()


def test_ptx_for_a_card_that_the_compiler_does_not_know() -> None:
    source = '#include "platform.cuh"\nextern "C" __global__ void nothing(float* x) { x[0] = 1; }\n'
    newest = max(nvrtc.supported())
    made = compile_unit(Unit("nothing", source), CodeTarget(f"compute_{newest}"))
    assert f".target sm_{newest}".encode() in made.code
    assert b".entry nothing" in made.code
    cubin = compile_unit(Unit("nothing", source), CodeTarget(f"sm_{newest}"))
    assert cubin.code.startswith(b"\x7fELF")


def test_an_architecture_that_the_compiler_lacks_is_named() -> None:
    found = nvrtc.dotted(nvrtc.version())
    with pytest.raises(CompileError, match=f"NVRTC {found} .*it does not know sm_999"):
        compile_unit(Unit("nothing", "\n"), "sm_999")


def test_a_source_that_is_refused_is_shown_in_the_compilers_words() -> None:
    found = nvrtc.dotted(nvrtc.version())
    with pytest.raises(CompileError, match=rf"NVRTC {found} does not compile bad for sm_80: .*no_"):
        compile_unit(Unit("bad", "no_such_type x;\n"), "sm_80")


def test_an_old_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "version", lambda: (11, 8))
    with pytest.raises(CompileError, match=r"NVRTC 11\.8 .*older than 12\.4, the oldest tried"):
        compile_unit(Unit("bad", "no_such_type x;\n"), "sm_80")


def test_bindings_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("Failure finding libnvrtc.so")

    nvrtc.version.cache_clear()
    monkeypatch.setattr(nvrtc.nvrtc_library(), "nvrtcVersion", fails)
    with pytest.raises(CompileError, match=r"find no NVRTC \(Failure.*minidl\[nvrtc13\]"):
        nvrtc.version()
    monkeypatch.undo()
    assert nvrtc.version() > (11, 0)


def test_without_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(CompileError, match=r"NVRTC is missing: install minidl\[nvrtc13\]"):
        nvrtc.nvrtc_library()
