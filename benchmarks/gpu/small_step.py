"""One training step of each small network, kernel by kernel: what compute-sanitizer watches."""

from __future__ import annotations

import minidl as dl
from minidl.devices.cuda import CudaDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, batches, options

if __name__ == "__main__":
    for name, build in NETWORKS.items():
        for precision in ("float32", "bf16"):
            network = build()
            how = options(name, device=CudaDevice(graphs=False), precision=precision)
            step = dl.compile(network, BATCH, **how)
            for batch in batches(network, 1):
                print(name, precision, step(*batch), flush=True)
