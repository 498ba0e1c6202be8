"""What the model of time counts with: `python -m benchmarks.instructions`.

Writes kernels/resources/instructions.csv: the rows of today's table of main loops as
`benchmarks.resources --loops` counted them, and beside each what no tool counts, wavefronts of
shared memory, where the review counted them by hand for a loop of the same tile and sources. It
counted older kernels; but in shared memory their operands lay as those of today lie, and their
warps read them alike (`SharedTile` in kernels/tensor_core.cuh).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from benchmarks.csv_tables import csv_text
from benchmarks.machine_code import KINDS, NEVER
from benchmarks.resources import table_of
from minidl.files.atomic import write_text
from minidl.roofline import read_counts
from minidl.roofline.counts import key_of

RESULTS = Path(__file__).parent / "results"
LOOPS = RESULTS / "main_loops/after/13.5.csv"
"""Of the newest NVRTC: the only one that counted every product."""
CONFLICTS = RESULTS / "roofline/counts.csv"
WRITTEN = table_of("instructions")
COLUMNS = (
    *("kernel", "chip", "registers", "a stage", "wavefronts", "rounds"),
    *(*KINDS, NEVER, "other"),
)


def text() -> str:
    """The file."""
    counted = {row.key: row.wavefronts for row in read_counts(CONFLICTS).rows if row.wavefronts}
    rows = list(csv.DictReader(io.StringIO(LOOPS.read_text(encoding="utf-8"))))
    found = ({**row, "wavefronts": counted.get(key_of(row["kernel"]), "")} for row in rows)
    return csv_text(COLUMNS, found)


if __name__ == "__main__":
    write_text(WRITTEN, text())
