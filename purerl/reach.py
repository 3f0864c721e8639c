"""Which numbers of a configuration reach learning at all, read from the traced program.

Many options have no effect under others: the decay of the advantage estimator where groups are compared, the
step size where it follows the KL, the exponents of priorities without priorities. The program knows: a number
from which no part of the next state is computed reaches nothing.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from purerl.types import Algorithm, Config


class Reach(NamedTuple):
    """Paths of the leaves of a configuration, as "env_params.wind".

    Attributes:
        begins: those that the first state is computed from.
        learns: those that the state after an update is computed from; metrics do not count.
    """

    begins: set[str]
    learns: set[str]


def reach(algorithm: Algorithm, config: Config) -> Reach:
    """Traces an algorithm, and follows its state back to the configuration."""
    config = jax.tree.map(jnp.asarray, config)
    key = jax.random.key(0)
    state = jax.eval_shape(algorithm.init, key, config)
    names = [
        jax.tree_util.keystr(path).lstrip(".") for path, _ in jax.tree_util.tree_leaves_with_path(config)
    ]

    def read(function: Any, first: Any) -> set[str]:
        traced = jax.make_jaxpr(function)(first, config).jaxpr
        live = live_inputs(traced, [True] * len(traced.outvars))
        return {name for name, is_live in zip(names, live[-len(names) :], strict=True) if is_live}

    return Reach(
        begins=read(algorithm.init, key),
        learns=read(lambda state, config: algorithm.update(state, config)[0], state),
    )


def live_inputs(jaxpr: Any, wanted: list[bool]) -> list[bool]:
    """Which inputs of a traced function the outputs that are wanted are computed from.

    It looks into calls and loops of known length; what else there is takes all of its inputs to be used.
    """
    live = {
        out
        for out, is_wanted in zip(jaxpr.outvars, wanted, strict=True)
        if is_wanted and not isinstance(out, Literal)
    }
    for equation in reversed(jaxpr.eqns):
        used = [out in live for out in equation.outvars]
        if any(used):
            operands = zip(equation.invars, _live_operands(equation, used), strict=True)
            live |= {value for value, is_live in operands if is_live and not isinstance(value, Literal)}
    return [value in live for value in jaxpr.invars]


def _live_operands(equation: Any, used: list[bool]) -> list[bool]:
    if equation.primitive.name in ("jit", "pjit"):
        return live_inputs(equation.params["jaxpr"].jaxpr, used)
    if equation.primitive.name != "scan":
        return [True] * len(equation.invars)
    num_consts, num_carry = equation.params["num_consts"], equation.params["num_carry"]
    body, carry = equation.params["jaxpr"].jaxpr, used[:num_carry]
    while True:  # What a step needs of the carry, the step before must make.
        needed = live_inputs(body, [*carry, *used[num_carry:]])
        grown = [a or b for a, b in zip(carry, needed[num_consts : num_consts + num_carry], strict=True)]
        if grown == carry:
            return [*needed[:num_consts], *carry, *needed[num_consts + num_carry :]]
        carry = grown
