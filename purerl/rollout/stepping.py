"""One step of many environments: the one place through which every action reaches them."""

import jax
import jax.numpy as jnp
from flax import struct

from purerl.spaces import fit_action
from purerl.types import Environment, Params, PyTree


@struct.dataclass
class Outcome:
    """What one step of E environments gave, whatever types they gave it in; leaves [E, ...].

    Attributes:
        observation: the true successors.
        env_state: the states after the step.
        reward: float32.
        unshaped_reward: float32, without shaping, where the environment names it in `info`.
        terminated: bool, ended by the rules of the environment.
        truncated: bool, cut by its time limit and not terminated.
        solved: bool, ended in success: as `info` says, or else terminated.
        tells_solved: whether `info` says so.
    """

    observation: PyTree
    env_state: PyTree
    reward: jax.Array
    unshaped_reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    solved: jax.Array
    tells_solved: bool = struct.field(pytree_node=False)


def step_all(
    env: Environment, params: Params, keys: jax.Array, env_state: PyTree, action: jax.Array
) -> Outcome:
    """Steps E environments: the one place through which actions reach them.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        keys: one for each environment.
        env_state: states, leaves [E, ...].
        action: [E, ...], as sampled; the environments get it clipped, in the shape and dtype of their space.
    """
    space = env.action_space(params)

    def step(key, state, action):
        return env.step_env(key, state, fit_action(action, space), params)

    observation, env_state, reward, terminated, info = jax.vmap(step)(keys, env_state, action)
    terminated = terminated.astype(bool)
    limit = jax.vmap(env.is_truncated, (0, None))(env_state, params).astype(bool)
    reward = reward.astype(jnp.float32)
    return Outcome(
        observation=observation,
        env_state=env_state,
        reward=reward,
        unshaped_reward=info.get("unshaped_reward", reward).astype(jnp.float32),
        terminated=terminated,
        truncated=limit & ~terminated,
        solved=info.get("solved", terminated).astype(bool),
        tells_solved="solved" in info,
    )
