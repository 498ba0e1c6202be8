"""Cases of the table of ops under compute-sanitizer: what `benchmarks.gpu.sanitizer` starts.

    python -m benchmarks.gpu.sanitized MACHINE CASES

CASES is JSON, [[name, precision], ...]. Lines of its output say which case begins and how it ended.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from typing import Any

from benchmarks.gpu.rows import short
from tests.simulator.bench import prepare_case
from tests.simulator.test_ops import IDS, TABLE

END = "== end of"
FINE = "fine"


def main() -> None:
    device: Any = importlib.import_module(sys.argv[1]).device(graphs=False)
    cases = dict(zip(IDS, TABLE, strict=True))
    for name, precision in json.loads(sys.argv[2]):
        try:
            prepared = prepare_case(cases[name][1], precision, card=device.card)
            prepared.ground.run(device)
            device.synchronize()
            said = FINE
        except Exception:
            said = short(traceback.format_exc().strip())
        print(f"{END} {name} {precision}: {said}", flush=True)


if __name__ == "__main__":
    main()
