"""What goes wrong, as a user meets it. Every message names the place and the way out."""


class MinidlError(Exception):
    """The base of every error that minidl raises on purpose."""


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

    def __init__(self, budget: int, needed: int, way_out: str = "") -> None:
        self.budget, self.needed = budget, needed
        super().__init__(
            f"the budget of {budget:,} bytes is {needed - budget:,} bytes short: the least that "
            f"was found is {needed:,}{way_out}"
        )


class CheckpointError(MinidlError):
    """A checkpoint that cannot be written, is damaged, or belongs to another network."""


class NotFiniteError(MinidlError, FloatingPointError):
    """A NaN or infinity, named at the op and step where it first appeared."""
