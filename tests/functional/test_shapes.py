"""What the signatures of exact functions say of shapes and dtypes holds, and what does not fit is refused."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

from purerl.functional import losses, permutation, returns

MODULES = ("losses", "permutation", "returns")
S = jnp.linspace(-1.0, 1.0, 12)
TE, FLAGS = S.reshape(4, 3), S.reshape(4, 3) > 0.0
AB, B = S.reshape(4, 3), S[:3]
FITTING = {
    returns.bootstrap: (S, S > 0, 0.5, S),
    returns.gae: (TE, TE, TE, FLAGS, FLAGS, 0.9, 0.9),
    returns.running_returns: (TE, FLAGS, TE[0], 0.9),
    returns.reward_to_go: (TE, FLAGS, 0.9),
    losses.clipped_surrogate: (S, S, 0.2),
    losses.clipped_value_loss: (S, S, S, 0.2),
    losses.approximate_kl: (S,),
    losses.explained_variance: (S, S, S > 0),
    losses.return_metrics: (S, S, S > 0),
    losses.huber: (S, 1.0),
    losses.q_learning_target: (B, B, AB, AB),
    losses.value_of_action: (AB, jnp.zeros(3, jnp.int32)),
    permutation.permutations: (jax.random.key(0), 2, 3, 4),
    permutation.grid_permutations: (jax.random.key(0), 2, 8, 9),
}
BROKEN = [
    (returns.gae, 3, FLAGS.astype(jnp.float32)),  # an ending is a bool
    (returns.gae, 2, TE[:3]),  # a step is missing
    (returns.running_returns, 2, TE[:, 0]),  # T numbers where there are E
    (losses.q_learning_target, 2, AB.T),  # actions come first
    (losses.value_of_action, 1, B),  # an action is an integer
    (losses.clipped_surrogate, 1, S[:, None]),  # would broadcast to [12, 12]
    (permutation.permutations, 0, jnp.zeros(2, jnp.uint32)),  # an old key
]


def checked(function):
    return jaxtyped(typechecker=beartype)(function)


@pytest.mark.parametrize("function", FITTING, ids=lambda function: function.__name__)
def test_a_function_takes_and_gives_what_it_says(function):
    jax.eval_shape(lambda: checked(function)(*FITTING[function]))


@pytest.mark.parametrize(
    ("function", "place", "wrong"), BROKEN, ids=lambda part: getattr(part, "__name__", "")
)
def test_what_does_not_fit_is_refused(function, place, wrong):
    arguments = list(FITTING[function])
    arguments[place] = wrong
    with pytest.raises(TypeCheckError):
        checked(function)(*arguments)


def test_nothing_here_takes_or_gives_just_anything():
    for room in ("functional", "rollout", "networks"):
        for file in Path(returns.__file__).parents[1].joinpath(room).rglob("*.py"):
            tree = ast.parse(file.read_text())
            lines = {
                node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "Any"
            }
            # The signature that a flax module overrides; a key of a cache, and numbers of a report; classes.
            assert len(lines) <= {"layers.py": 1, "evaluate.py": 2, "families.py": 2}.get(file.name, 0), file


def test_every_public_function_of_these_modules_is_tried():
    public = {
        function
        for name in MODULES
        for function in vars(import_module(f"purerl.functional.{name}")).values()
        if inspect.isfunction(function)
        and function.__module__ == f"purerl.functional.{name}"
        and not function.__name__.startswith("_")
    }
    assert public == set(FITTING)
