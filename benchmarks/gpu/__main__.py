"""Check and measure the CUDA device on a real GPU, minutes at a time: see benchmarks/gpu/README.md.

    python -m benchmarks.gpu first-contact [--seconds 165] --out DIR         first of all
    python -m benchmarks.gpu train kernels memory --seconds 560 --out DIR

Then `python -m benchmarks.gpu.report` writes docs/performance.md from benchmarks/results.
"""

from __future__ import annotations

import sys

from benchmarks.gpu.commands import main

if __name__ == "__main__":
    sys.exit(main())
