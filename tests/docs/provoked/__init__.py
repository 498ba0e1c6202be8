"""Every error that docs/faq.md has a section on, provoked as a user provokes it."""

from tests.docs.provoked import data, devices, exchange, memory, runs, shapes
from tests.docs.provoked.cases import CASES

__all__ = ["CASES", "data", "devices", "exchange", "memory", "runs", "shapes"]
