"""Devices without a device: sources, compilers, caches."""
