"""What the machine code of a kernel is made of: its main loop, instruction by instruction.

nvdisasm prints machine code as text; it is in the package nvidia-cuda-nvdisasm, needs no GPU and
reads what older compilers made. A main loop is the code between a label and the branch back to it
that has most of the arithmetic.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL = "install nvidia-cuda-nvdisasm, for instance: pip install nvidia-cuda-nvdisasm"

KINDS = {
    "tensor": r"[HIBDQO]MMA|[HIQ]GMMA|UTC\w*MMA",
    "multiply-add": r"FFMA|FMUL|FADD|FFMA2",
    "ldmatrix": r"LDSM",
    "lds": r"LDS|STS|STSM",
    "cp.async": r"LDGSTS|LDGDEPBAR|DEPBAR",
    "global": r"LDG|STG|LD|ST|LDL|STL",
    "convert": r"F2FP?|FSETP|FSEL|FMNMX",
    "integer": r"IMAD|IADD3?|LEA|SHF|SHL|SHR|LOP3|SEL|MOV|CS2R|PRMT|VIADD|VIADDMNMX|VIMNMX3?"
    r"|IMNMX|IABS|BFE|SGXT|S2R|LDC|R2UR|I2FP?|SHFL|HFMA2",
    "uniform": r"U[A-Z]\w*|S2UR|LDCU",
    "predicate": r"ISETP|PLOP3|P2R|R2P",
    "branch": r"BRA|BRX|BSSY|BSYNC|BAR|EXIT|RET|CALL|WARPSYNC|NOP|BREAK|YIELD|SYNCS",
}
"""Kinds of instructions by their opcodes; what no line has is "other"."""

NEVER = "never"
"""The kind of an instruction whose predicate is never true: it takes a slot and does nothing."""

_OPCODE = {kind: re.compile(rf"(?:{pattern})\Z") for kind, pattern in KINDS.items()}
_SECTION = re.compile(r"\.text\.(\w+):\Z")
_LABEL = re.compile(r"(\.L\w+):\Z")
_LINE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:(@!?U?PT?\d*)\s+)?([A-Z][A-Z0-9_]*)(\S*)\s*(.*?)\s*;")


@dataclass(frozen=True)
class Instruction:
    """One line of a disassembly."""

    opcode: str
    """Without its modifiers."""
    modifiers: str
    predicate: str
    operands: str

    @property
    def kind(self) -> str:
        if self.predicate == "@!PT":
            return NEVER
        found = (kind for kind, pattern in _OPCODE.items() if pattern.match(self.opcode))
        return next(found, "other")


@dataclass(frozen=True)
class Function:
    """The instructions of a kernel, and which of them a label stands in front of."""

    instructions: tuple[Instruction, ...]
    labels: dict[str, int]

    def loops(self) -> Iterator[Sequence[Instruction]]:
        """What lies between each label and a branch back to it."""
        for place, each in enumerate(self.instructions):
            target = re.search(r"\.L\w+", each.operands) if each.opcode == "BRA" else None
            first = self.labels.get(target.group(), place + 1) if target else place + 1
            if first <= place:
                yield self.instructions[first : place + 1]

    def main_loop(self) -> Sequence[Instruction]:
        """The shortest of the loops that have most of the arithmetic; empty where there is none."""
        tensor = "tensor" in counted(self.instructions)
        return max(
            self.loops(), key=lambda loop: (arithmetic(loop, tensor), -len(loop)), default=()
        )


def arithmetic(code: Sequence[Instruction], tensor: bool) -> int:
    """Tensor instructions; of a kernel that has none, fused multiply-adds."""
    return sum(each.kind == "tensor" if tensor else each.opcode == "FFMA" for each in code)


def counted(code: Sequence[Instruction]) -> Counter[str]:
    """Instructions by kind."""
    return Counter(each.kind for each in code)


def rounds(code: Sequence[Instruction]) -> int:
    """How often the code turns from loads of global memory to stores: a load waits for every store
    in front of it, so that each turn is a wait for memory."""
    accesses = "".join(each.opcode[0] for each in code if each.opcode in ("LDG", "STG"))
    return len(re.findall("L+S", accesses))


def functions(text: str) -> dict[str, Function]:
    """The kernels of a disassembly by name."""
    found: dict[str, tuple[list[Instruction], dict[str, int]]] = {}
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in map(str.strip, text.splitlines()):
        if section := _SECTION.match(line):
            code, labels = found.setdefault(section[1], ([], {}))
        elif label := _LABEL.match(line):
            labels[label[1]] = len(code)
        elif each := _LINE.match(line):
            predicate, opcode, modifiers, operands = each.groups(default="")
            code.append(Instruction(opcode, modifiers, predicate, operands))
    return {name: Function(tuple(code), labels) for name, (code, labels) in found.items()}


def disassembled(code: bytes) -> dict[str, Function]:
    """The kernels of machine code by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(code)
        done = subprocess.run([nvdisasm(), "-c", path], capture_output=True, text=True, check=True)
    return functions(done.stdout)


def nvdisasm() -> str:
    """The program, on the PATH or where its package puts it."""
    packages = Path(sysconfig.get_path("purelib")) / "nvidia"
    here = sorted(map(str, packages.glob("*/bin/nvdisasm*")))
    found = next(iter(here), None) or shutil.which("nvdisasm")
    if found is None:
        raise SystemExit(f"nvdisasm is missing: {INSTALL}")
    return found
