"""Many copies of an environment as a Gymnasium vector environment: one compiled call steps all of them."""

from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from envs.gymnasium_adapter import (
    METADATA,
    FramePainter,
    checked_render_mode,
    key_of,
    params_of,
    plain,
    reset,
    space_of,
    step,
)
from purerl.types import Environment, Params, PyTree


class GymnasiumVectorEnv(gymnasium.vector.VectorEnv):
    """Environments side by side; environment i behaves like a `GymnasiumEnv` with seed `seed + i`.

    What happens to an environment whose episode has ended:
        next step: its next step begins an episode, whatever the action, with reward 0. Gymnasium's default.
        same step: it shows the first observation of the next episode at once; the last one of the episode
            and the infos of the step are `final_obs` and `final_info`.
        disabled: the caller resets it, by `reset(options={"reset_mask": bool [N]})`.
    """

    def __init__(
        self,
        env: Environment,
        num_envs: int,
        params: Params | None = None,
        frame: FramePainter | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        """Wraps an environment.

        Args:
            env: the environment.
            num_envs: how many copies of it, N.
            params: its parameters, or a mapping of those that differ from the default.
            frame: `(state, params) -> uint8 [H, W, 3]`.
            render_mode: "rgb_array", where there is a `frame`, or None.
            autoreset_mode: "NextStep", "SameStep" or "Disabled".
        """
        self.env, self.params, self.frame = env, params_of(env, params), frame
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode, frame)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = METADATA | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space = space_of(env.observation_space(self.params))
        self.single_action_space = space_of(env.action_space(self.params))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        # Keys, states and observations of all environments, leaves [N, ...].
        self._copies: tuple[jax.Array, PyTree, PyTree] | None = None
        self._ended = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode in all environments, or in those of the `reset_mask` among the options.

        Args:
            seed: environment i gets `seed + i`, or entry i of a list; None goes on with its random numbers.
            options: `reset_mask`, bool [N].
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        super().reset(seed=seed if isinstance(seed, int) else None)
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(f"reset_mask is {mask.dtype}{list(mask.shape)}, not bool[{self.num_envs}]")
        keys = self._copies[0] if self._copies else jax.random.split(key_of(self.np_random), self.num_envs)
        for i, own in enumerate(seeds or ()):
            if own is not None and mask[i]:
                keys = keys.at[i].set(key_of(np_random(own)[0]))
        if self._copies is None or mask.all():
            self._copies = _reset_all(self.env, self.params, keys)
        else:
            self._copies = _reset_some(self.env, self.params, (keys, *self._copies[1:]), mask)
        self._ended = self._ended & ~mask
        return plain(self._copies[2]), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes one step in each environment."""
        if self.autoreset_mode == AutoresetMode.DISABLED and self._ended.any():
            raise ValueError(
                f"environments {np.flatnonzero(self._ended).tolist()} have ended; "
                'reset them with options={"reset_mask": ...}'
            )
        self._copies, outcome = _step_all(
            self.env, self.autoreset_mode, self.params, self._copies, actions, self._ended
        )
        last, reward, terminated, truncated, info = plain(outcome)
        begun, self._ended = self._ended, terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = _with_masks(info, ~self._ended) | self._final(last, info)
        else:
            infos = _with_masks(info, ~begun)
        return plain(self._copies[2]), reward.astype(np.float64), terminated, truncated, infos

    def render(self) -> Any:
        """The present states as pictures, N times uint8 [H, W, 3]; None without a render mode."""
        if self.render_mode is None or self.frame is None or self._copies is None:
            return None
        states = jax.device_get(self._copies[1])
        pick = lambda i: jax.tree.map(lambda leaf: leaf[i], states)  # noqa: E731
        return tuple(self.frame(pick(i), self.params) for i in range(self.num_envs))

    def _final(self, last: Any, info: dict[str, np.ndarray]) -> dict[str, Any]:
        """The last observation and the infos of the episodes that ended in this step."""
        if not self._ended.any():
            return {}
        observations = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(self._ended):
            observations[i] = jax.tree.map(lambda leaf, i=i: leaf[i], last)
        final = {"final_obs": observations, "final_info": _with_masks(info, self._ended)}
        return final | {f"_{name}": self._ended.copy() for name in final}


def _with_masks(info: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    """Infos as a vector environment gives them: zero where the mask, which goes with each, is False."""
    found: dict[str, np.ndarray] = {}
    for name, values in info.items():
        shown = mask.reshape(-1, *[1] * (values.ndim - 1))
        found |= {name: np.where(shown, values, np.zeros_like(values)), f"_{name}": mask.copy()}
    return found if mask.any() else {}


@partial(jax.jit, static_argnums=0)
def _reset_all(env: Environment, params: Params, keys: jax.Array) -> tuple[jax.Array, PyTree, PyTree]:
    return jax.vmap(partial(reset, env, params))(keys)


@partial(jax.jit, static_argnums=0)
def _reset_some(env: Environment, params: Params, copies: tuple, mask: jax.Array) -> tuple:
    """Begins an episode where the mask, bool [N], says so; without any, no reset is computed."""

    def begin(copies):
        fresh = _reset_all(env, params, copies[0])
        return jax.tree.map(partial(_where, mask), fresh, copies)

    return jax.lax.cond(mask.any(), begin, lambda copies: copies, copies)


@partial(jax.jit, static_argnums=(0, 1))
def _step_all(
    env: Environment, mode: AutoresetMode, params: Params, copies: tuple, action: jax.Array, ended: jax.Array
) -> tuple[tuple, tuple]:
    """All copies after one step, and what it gave: (observation, reward, terminated, truncated, info)."""
    keys, state, _ = copies
    after_keys, after_state, outcome = jax.vmap(partial(step, env, params))(keys, state, action)
    if mode != AutoresetMode.NEXT_STEP:
        after = (after_keys, after_state, outcome[0])
        ends = outcome[2] | outcome[3]
        return (_reset_some(env, params, after, ends) if mode == AutoresetMode.SAME_STEP else after), outcome
    # Where an episode ended in the step before, the step is a reset instead, from the key that it would use.
    fresh = _reset_some(env, params, copies, ended)
    after = jax.tree.map(partial(_where, ended), fresh, (after_keys, after_state, outcome[0]))
    given = [jnp.where(ended, jnp.zeros_like(part), part) for part in outcome[1:4]]
    return after, (outcome[0], *given, outcome[4])


def _where(mask: jax.Array, chosen: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(-1, *[1] * (chosen.ndim - 1)), chosen, other)
