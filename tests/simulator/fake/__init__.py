"""The parts of `tests.simulator.fake_cupy`: a machine with NVIDIA GPUs, as strict as a real one."""
