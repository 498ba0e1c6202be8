"""What goes wrong, as a user meets it. Every message names the place and the way out."""


class MinidlError(Exception):
    """The base of every error that minidl raises on purpose."""


class ShapeError(MinidlError, ValueError):
    """Shapes that do not fit: the message names the layer, the shapes and what would fit."""


class ArgumentError(MinidlError, ValueError):
    """A value outside of what is allowed."""


class PlanError(MinidlError):
    """A plan that is not right: the verifier's finding, with op, tensor and bytes."""


class ArenaTooLargeError(MinidlError, MemoryError):
    """The arena does not fit into the memory there is."""


class NotFiniteError(MinidlError, FloatingPointError):
    """A NaN or infinity, named at the op and step where it first appeared."""
