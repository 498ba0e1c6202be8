"""Objects of which there is one: a copy would share what it is about."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from minidl.ir.errors import ArgumentError


class Uncopied:
    """Refuses `copy.copy`, `copy.deepcopy` and pickle, which all ask for `__reduce_ex__`."""

    instead: ClassVar[str]
    """The hint: how to have a second one."""

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise ArgumentError(f"a {type(self).__name__} is not copied or pickled", self.instead)
