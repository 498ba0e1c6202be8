"""Names that the phases and the table share; nothing is imported, so that both begin anywhere."""

PRECISIONS = ("bf16", "tf32", "float32")
"""In the order of what is wanted first."""
REFERENCED = ("bf16", "float32")
"""Precisions in which a step is compared with float64."""
DEVICE = "device"
"""The case without which nothing runs on a GPU."""
