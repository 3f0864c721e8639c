"""Which numbers of a configuration reach learning at all, read from the traced program.

Many options have no effect under others: the decay of the advantage estimator where groups are compared, the
step size where it follows the KL, the exponents of priorities without priorities. The program knows: a number
from which no part of the next state is computed reaches nothing.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters.partial_eval import dce_jaxpr

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
    """Which inputs of a traced function the outputs that are wanted are computed from."""
    return dce_jaxpr(jaxpr, wanted)[1]
