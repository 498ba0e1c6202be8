"""Orders for the ops of a step: pure functions from graph to graph, with proofs.

`by_layer` chooses among dgrad, wgrad and update within each layer; `search` among all orders of
the whole step; `bound` says what no order can go below.
"""

from minidl.compiler.order.best import Ordered, order_for_peak, order_within
from minidl.compiler.order.bound import order_lower_bound
from minidl.compiler.order.by_layer import order_by_layer, order_by_size
from minidl.compiler.order.problem import Problem

__all__ = [
    "Ordered",
    "Problem",
    "order_by_layer",
    "order_by_size",
    "order_for_peak",
    "order_lower_bound",
    "order_within",
]
