"""Many texts in one piece of memory, which worker processes share instead of copying."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import numpy as np

from minidl.ir import Array


class Names:
    """Texts by number: their bytes one behind the other, and where each ends.

    Names of files need not be UTF-8: bytes that are none are kept (PEP 383).
    """

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self.bytes: Array = np.frombuffer(b"".join(encoded), np.uint8)
        self.ends: Array = np.fromiter(accumulate(map(len, encoded)), np.int64, len(encoded))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        end = int(self.ends[index])
        start = int(self.ends[index - 1]) if index % len(self) else 0
        return self.bytes[start:end].tobytes().decode("utf-8", "surrogateescape")

    def taken(self, indices: Array) -> Names:
        """Those texts, in that order."""
        return Names(self[int(index)] for index in indices)
