"""Pictures to train on, as arrays."""

from minidl.data.dataset import Dataset, batches
from minidl.data.digits import digits

__all__ = ["Dataset", "batches", "digits"]
