"""What goes wrong, as a user meets it. Every message names the place and the way out."""

from __future__ import annotations

from typing import TypeVar

from minidl.ir.quantities import format_size

Own = TypeVar("Own", bound="MinidlError")


class MinidlError(Exception):
    """The base of every error that minidl raises on purpose.

    message: what is wrong and where; hint: the way out, where there is one. Printed it is both, the
    hint behind a colon. Who catches it and knows more says so with `at` and `hinting`; nobody takes
    a message apart.
    """

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return ": ".join(part for part in (self.message, self.hint) if part)

    def at(self: Own, place: object) -> Own:
        """This error, with the place where it happened in front: a file, an op, a step."""
        self.args = (f"{place}: {self.message}",)
        return self

    def hinting(self: Own, hint: str) -> Own:
        """This error with another way out."""
        self.hint = hint
        return self


class ShapeError(MinidlError, ValueError):
    """Shapes that do not fit: the message names the layer, the shapes and what would fit."""


class ArgumentError(MinidlError, ValueError):
    """A value outside of what is allowed."""


class PlanError(MinidlError):
    """A plan that is not right: the verifier's finding, with op, tensor and bytes."""


class LimitError(PlanError):
    """More than a card can launch, or bytes can count: the message names op, limit and way out."""


class ArenaTooLargeError(MinidlError, MemoryError):
    """The arena does not fit into the memory there is."""


class BudgetError(MinidlError, ValueError):
    """No plan that was found fits into the bytes that there are."""

    def __init__(self, budget: int, needed: int, hint: str = "") -> None:
        self.budget, self.needed = budget, needed
        super().__init__(
            f"the budget of {format_size(budget)} is {format_size(needed - budget)} short: the "
            f"least that was found is {format_size(needed)} ({needed:,} bytes)",
            hint,
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.budget, self.needed, self.hint), {"args": self.args}


class CheckpointError(MinidlError):
    """A checkpoint that cannot be written, is damaged, or belongs to another network."""


class NotFiniteError(MinidlError, FloatingPointError):
    """A NaN or infinity, named at the op and step where it first appeared."""
