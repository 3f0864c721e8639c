"""Players without learning: what an arena gives to chance, to greed, to knowledge and to foresight.

A controller is a pure function `(state, key, params) -> action`, float32 [2], for the action `xy`. All of
them see the whole state; only `target_seeker` and `best` use the target in it. They move at full speed on
both axes and go round blue pellets.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp

from envs.bikkle.environment import Bikkle
from envs.bikkle.params import BikkleParams
from envs.bikkle.state import BikkleState, is_blue, present, target_position, target_value

Controller: TypeAlias = Callable[[BikkleState, jax.Array, BikkleParams], jax.Array]

FORBIDDEN = 1e3
OVERHEAD = 5.0
"""Steps added to every way, as what comes after it counts as well."""
WAIT = 20
"""Steps before the end of a round in which the only pink pellet is better kept than taken."""


def random(state: BikkleState, key: jax.Array, params: BikkleParams) -> jax.Array:
    """Uniform over the actions."""
    return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)


def nearest_pink(state: BikkleState, key: jax.Array, params: BikkleParams) -> jax.Array:
    """To the pink pellet that is nearest, round blue ones."""
    squared = (state.pellet_x - state.agent[0]) ** 2 + (state.pellet_y - state.agent[1]) ** 2
    goal = jnp.argmin(jnp.where(_pink(state), squared, jnp.inf))
    return _step_round(state, _position(state, goal), _blue(state), params)


def target_seeker(state: BikkleState, key: jax.Array, params: BikkleParams) -> jax.Array:
    """To the target, round blue ones."""
    return _step_round(state, target_position(state), _blue(state), params)


def best(state: BikkleState, key: jax.Array, params: BikkleParams) -> jax.Array:
    """To the pink pellet with the most reward per step of the way, round blue ones.

    With one pink pellet, the target in every round, it waits beside it where the round is about to end.
    """
    steps = jnp.ceil(_steps_to(state, params))
    is_target = jnp.arange(steps.shape[0]) == state.target
    value = jnp.where(is_target, target_value(state.round_step + steps - 1, params), params.pink_reward)
    goal = jnp.argmax(jnp.where(_pink(state), value / (steps + OVERHEAD), -jnp.inf))
    left = params.round_length - state.round_step
    another_round = state.time + left < params.max_steps_in_episode
    waits = (state.num_pellets == 2) & (left <= WAIT) & another_round & jnp.asarray(params.continuing, bool)
    shunned = _blue(state) | (_pink(state) & waits)
    return _step_round(state, _position(state, goal), shunned, params)


def _step_round(state: BikkleState, goal: jax.Array, shunned: jax.Array, params: BikkleParams) -> jax.Array:
    """Of a fan of moves, the one that ends nearest to the goal and touches nothing that is shunned."""
    side = jnp.linspace(-1.0, 1.0, 5)
    fan = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    direct = jnp.clip((goal - state.agent) / params.max_step, -1.0, 1.0)
    moves = jnp.concatenate([direct[None], fan])
    places = jnp.clip(state.agent + params.max_step * moves, 0.0, 1.0)
    away = jnp.abs(goal - places)
    touches = jax.vmap(lambda place: jnp.any(shunned & (_gaps(state, place, params) <= 1e-4)))(places)
    cost = jnp.max(away, axis=1) + 0.5 * jnp.sum(away, axis=1)
    return moves[jnp.argmin(cost + FORBIDDEN * touches)]


def _pink(state: BikkleState) -> jax.Array:
    return present(state) & ~is_blue(state.pellet_x.shape[0])


def _blue(state: BikkleState) -> jax.Array:
    return present(state) & is_blue(state.pellet_x.shape[0])


def _position(state: BikkleState, slot: jax.Array) -> jax.Array:
    return jnp.stack([state.pellet_x[slot], state.pellet_y[slot]])


def _gaps(state: BikkleState, place: jax.Array, params: BikkleParams) -> jax.Array:
    """Distance from a place to where each pellet would be touched: float32 [N]."""
    distance = jnp.hypot(state.pellet_x - place[0], state.pellet_y - place[1])
    return distance - 2.0 * params.pellet_size


def _steps_to(state: BikkleState, params: BikkleParams) -> jax.Array:
    """Steps at full speed per axis until each pellet is touched: float32 [N], at least 1.

    On the way the shorter axis closes first; where the disc is met before that, both axes still move.
    """
    reach = 2.0 * params.pellet_size
    dx, dy = jnp.abs(state.pellet_x - state.agent[0]), jnp.abs(state.pellet_y - state.agent[1])
    longer, shorter = jnp.maximum(dx, dy), jnp.minimum(dx, dy)
    straight = longer - reach
    # (longer - s)^2 + (shorter - s)^2 = reach^2, solved for the way s along both axes.
    inside = jnp.maximum(2.0 * reach**2 - (longer - shorter) ** 2, 0.0)
    slanted = 0.5 * (longer + shorter - jnp.sqrt(inside))
    way = jnp.where(slanted < shorter, slanted, straight)
    return jnp.maximum(way / params.max_step, 1.0)


@partial(jax.jit, static_argnames=("controller", "env", "num_episodes", "num_steps"))
def _returns(
    controller: Controller,
    env: Bikkle,
    params: BikkleParams,
    key: jax.Array,
    *,
    num_episodes: int,
    num_steps: int,
) -> jax.Array:
    def episode(key: jax.Array) -> jax.Array:
        key_reset, key_steps = jax.random.split(key)
        _, state = env.reset_env(key_reset, params)

        def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            state, total, over = carry
            key_act, key_step = jax.random.split(key)
            action = controller(state, key_act, params)
            _, state, reward, terminated, _ = env.step_env(key_step, state, action, params)
            return (state, total + jnp.where(over, 0.0, reward), over | terminated), None

        start = (state, jnp.zeros((), jnp.float32), jnp.zeros((), bool))
        return jax.lax.scan(step, start, jax.random.split(key_steps, num_steps))[0][1]

    return jax.vmap(episode)(jax.random.split(key, num_episodes))


def evaluate_controller(
    controller: Controller, env: Bikkle, params: BikkleParams, key: jax.Array, num_episodes: int
) -> jax.Array:
    """Plays whole episodes; nothing counts after the first termination.

    Args:
        controller: of this module, or like them.
        env: the arena, with the action `xy`.
        params: its parameters; `max_steps_in_episode` must be concrete.
        key: `jax.random.key`.
        num_episodes: episodes, played at once.

    Returns:
        Undiscounted returns, float32 [num_episodes].
    """
    num_steps = int(params.max_steps_in_episode)
    return _returns(controller, env, params, key, num_episodes=num_episodes, num_steps=num_steps)
