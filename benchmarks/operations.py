"""How many operations a traced program makes and how many bytes it must move, counted from its jaxpr.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs, so it cannot tell what a
training program costs, which is loops within loops. Here each body counts as often as its scan is long.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core


class Cost(NamedTuple):
    """What a program costs.

    Attributes:
        products: floating-point operations of matrix products and convolutions, two for each multiply-add.
        others: those of everything else: one for each element of a floating-point result, or of what is
            summed.
        bytes: read and written by matrix products, gathers, scatters, sums, sorts, and scans that step
            through arrays. What maps element to element is taken to be fused with these, and to move nothing.
    """

    products: float = 0.0
    others: float = 0.0
    bytes: float = 0.0

    def plus(self, other: "Cost", times: float = 1.0) -> "Cost":
        """This cost, and another so many times."""
        return Cost(*(mine + times * its for mine, its in zip(self, other, strict=True)))


_PRODUCTS = {"dot_general", "conv_general_dilated"}
_COMBINES = ("scatter-add", "scatter-mul", "scatter-min", "scatter-max")
_ARRANGES = {
    "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "slice", "split", "pad", "copy", "iota",
    "select_n", "convert_element_type", "bitcast_convert_type", "stop_gradient",
}  # fmt: skip
_MOVES = {
    **dict.fromkeys(("gather", "dynamic_slice", "concatenate", "rev", "transpose"), "result"),
    **dict.fromkeys(("scatter", *_COMBINES), "last"),
    "dynamic_update_slice": "second",
}
"""Which array of an equation is read at one place and written at another."""
_MOVES_ALL = {
    "sort", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "top_k",
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin",
}  # fmt: skip


def count(function: Callable[..., Any], *arguments: Any) -> Cost:
    """The cost of a function of arrays, or of their shapes. Of a `cond` the dearest branch counts."""
    return _cost(jax.make_jaxpr(function)(*arguments).jaxpr)


def _cost(jaxpr: Any) -> Cost:
    total = Cost()
    for equation in jaxpr.eqns:
        total = total.plus(_cost_of(equation))
    return total


def _cost_of(equation: Any) -> Cost:
    name, params = equation.primitive.name, equation.params
    inputs = [variable.aval for variable in equation.invars]
    outputs = [variable.aval for variable in equation.outvars]
    if name == "scan":
        fixed = params["num_consts"] + params["num_carry"]
        stepped = _bytes(inputs[fixed:]) + _bytes(outputs[params["num_carry"] :])
        return Cost(bytes=stepped).plus(_cost(params["jaxpr"].jaxpr), params["length"])
    if name == "cond":
        return max(map(_cost, (branch.jaxpr for branch in params["branches"])), key=sum)
    inner = [found for value in params.values() for found in _jaxprs(value)]
    if inner:  # a while loop counts once: nobody knows how often it runs
        return sum_of(map(_cost, inner))
    return _cost_of_primitive(equation, name, inputs, outputs)


def _cost_of_primitive(equation: Any, name: str, inputs: list[Any], outputs: list[Any]) -> Cost:
    if name in _PRODUCTS:
        return Cost(products=_products(equation), bytes=_bytes(inputs + outputs))
    if name in _MOVES_ALL:
        return Cost(others=_floats(inputs), bytes=_bytes(inputs + outputs))
    if name in _MOVES:
        moved = {"result": outputs, "last": inputs[-1:], "second": inputs[1:2]}[_MOVES[name]]
        return Cost(others=_floats(moved) if name in _COMBINES else 0.0, bytes=2.0 * _bytes(moved))
    return Cost() if name in _ARRANGES else Cost(others=_floats(outputs))


def _products(equation: Any) -> float:
    """Operations of a matrix product or of a convolution."""
    name, params = equation.primitive.name, equation.params
    result = equation.outvars[0].aval
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return 2.0 * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted) * result.size
    weights = equation.invars[1].aval
    features = weights.shape[params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * weights.size / features * result.size


def sum_of(costs: Any) -> Cost:
    """All costs together."""
    total = Cost()
    for cost in costs:
        total = total.plus(cost)
    return total


def _jaxprs(value: Any) -> list[Any]:
    """The programs within a parameter of an equation."""
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    return [found for each in value for found in _jaxprs(each)] if isinstance(value, tuple | list) else []


def _bytes(avals: list[Any]) -> float:
    return float(sum(aval.size * aval.dtype.itemsize for aval in avals if hasattr(aval, "dtype")))


def _floats(avals: list[Any]) -> float:
    """Elements that are floating-point numbers."""
    arrays = [aval for aval in avals if hasattr(aval, "dtype")]
    return float(sum(aval.size for aval in arrays if jnp.issubdtype(aval.dtype, jnp.floating)))
