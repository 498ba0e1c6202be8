"""NVIDIA's compute-sanitizer over one case a kernel template: memory first, then races.

One process runs many cases under the tool, since it takes seconds to begin; a case in which the
tool finds something ends it, and another goes on behind it. Without the tool a row says so.
https://docs.nvidia.com/compute-sanitizer/ComputeSanitizer/index.html
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial

from benchmarks.gpu import compiling
from benchmarks.gpu.names import DEVICE, PRECISIONS
from benchmarks.gpu.rows import Row
from benchmarks.gpu.sanitized import END, FINE
from benchmarks.gpu.tables import of_phase, whole
from benchmarks.gpu.worker import CaseDiedError, CaseLeftOutError, Phase, Worker
from tests.simulator.bench import prepare_case
from tests.simulator.checked import one_a_template
from tests.simulator.test_ops import IDS, TABLE

PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.3),
    compiling.phase(f"{__name__}:compile_kernels", most=0.4, least=0.1),
    Phase("sanitizer", f"{__name__}:sanitizer", most=1.0, least=0.5, silence=60, needs=DEVICE),
)
TOOL = "compute-sanitizer"
CHECKS = {"memcheck": ("--report-api-errors", "no"), "racecheck": ()}
"""Its tools, and what each is told. CuPy asks CUDA for what it may not have: that is no error."""
MARK = "========="
"""What its lines begin with."""
HARMLESS = ("COMPUTE-SANITIZER", "ERROR SUMMARY: 0", "RACECHECK SUMMARY: 0")
LINES = 12
"""Of a finding, in the row."""
Name = tuple[str, str]


def chosen(precision: str) -> list[Name]:
    """The representative cases: as few as have every kernel template."""
    names = {case: name for name, (_, case) in zip(IDS, TABLE, strict=True)}
    return [(names[case], precision) for case in one_a_template(precision)]


def compile_kernels(worker: Worker) -> None:
    cases = dict(zip(IDS, TABLE, strict=True))

    def source(name: str, precision: str) -> compiling.Source:
        prepared = partial(prepare_case, cases[name][1], precision, card=worker.device.card)
        return compiling.Source(f"ops {name} {precision}", lambda: prepared().ops)

    of = [source(*names) for precision in PRECISIONS for names in chosen(precision)]
    compiling.compile_all(worker, of)


class Watched:
    """A process under the tool, and what is still to be run in it."""

    def __init__(self, worker: Worker, program: str, check: str, cases: list[Name]) -> None:
        self.worker, self.cases = worker, cases
        self.command = [program, "--tool", check, *CHECKS[check], sys.executable, "-m"]
        self.process: subprocess.Popen[str] | None = None

    def run(self, case: Name) -> Row:
        """Read until the case ends; "wrong" is what the tool says meanwhile."""
        process = self.process or self._start(case)
        found: list[str] = []
        for line in process.stdout or ():
            if line.startswith(MARK):
                found.append(line[len(MARK) :].strip())
            elif line.startswith(f"{END} {' '.join(case)}: "):
                said = line.partition(": ")[2].strip()
                return self._judged(found, None if said == FINE else RuntimeError(said))
        how = f"the process under the tool ended with status {process.wait()}"
        return self._judged(found, CaseDiedError(how))

    def _judged(self, found: list[str], failed: Exception | None) -> Row:
        findings = [line for line in found if line and not line.startswith(HARMLESS)]
        if findings or failed:
            self.end()
        if any("not supported" in line for line in findings):
            raise CaseLeftOutError(findings[0])
        if findings:
            return {"found": findings[:LINES], "wrong": findings[0]}
        if failed:
            raise failed
        return {}

    def _start(self, case: Name) -> subprocess.Popen[str]:
        machine, left = self.worker.settings.machine, self.cases[self.cases.index(case) :]
        self.process = subprocess.Popen(
            [*self.command, "benchmarks.gpu.sanitized", machine, json.dumps(left)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def sanitizer(worker: Worker) -> None:
    """Every template in bf16, for memory and for races; then the other precisions."""
    program: list[str] = []

    def find() -> Row:
        program.extend(filter(None, [shutil.which(TOOL)]))
        if not program:
            raise CaseLeftOutError(f"{TOOL} is not installed: it comes with the CUDA toolkit")
        said = subprocess.run([*program, "--version"], capture_output=True, text=True, timeout=60)
        return {"facts": {TOOL: said.stdout.strip().splitlines()[-1:]}}

    if not worker.wants(TOOL):
        return
    worker.done.pop(TOOL, None)  # a process that goes on behind another asks again
    worker.run(TOOL, find)
    if not program:
        return
    for precision in PRECISIONS:
        for check in CHECKS:
            _check(worker, program[0], check, chosen(precision))


def _check(worker: Worker, program: str, check: str, cases: list[Name]) -> None:
    mine = worker.mine(cases, lambda case: f"{check} {' '.join(case)}", counted=False)
    watched = Watched(worker, program, check, mine)
    try:
        for case in mine:
            worker.run(f"{check} {' '.join(case)}", partial(watched.run, case))
    finally:
        watched.end()


def table(rows: list[Row]) -> str:
    known = of_phase([row for row in rows if "case" in row], "sanitizer")
    clean = {check: sum(row["case"].startswith(check) for row in known) for check in CHECKS}
    lines = ", ".join(f"{count} cases without a finding of {name}" for name, count in clean.items())
    return whole(rows, [f"COMPUTE-SANITIZER {lines}"])
