"""Evaluation of policies: whole episodes of fixed length under a mask, in blocks that stay in the cache."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from purerl.compile.placement import local_devices
from purerl.compile.platforms import episodes_side_by_side
from purerl.compile.sharding import over_devices, refuse_empty_constants
from purerl.compile.waiting import safe
from purerl.rollout.stepping import step_all
from purerl.types import Environment, Params, PyTree

Policy: TypeAlias = Callable[..., PyTree]


_PROGRAMS = 8


class Greedy(NamedTuple):
    """The policy of an algorithm without its noise.

    Equal for equal policies, so that a program that was compiled for one is found again.
    """

    policy: Policy

    def __call__(self, learner: PyTree, observation: PyTree, key: jax.Array, *carry: PyTree) -> PyTree:
        """Actions [B, ...], and with a carry that after the step."""
        return self.policy(learner, observation, key, True, *carry)


@struct.dataclass
class Episodes:
    """Whole episodes; leaves [M], or [S, G, M] for S learners under G sets of parameters.

    Attributes:
        episode_return: undiscounted sum of the rewards, float32; without shaping, where the environment names
            its `unshaped_reward` in `info`.
        length: steps, int32.
        solved: bool, the episode ended in success: as the environment's `info` says, or else terminated.
    """

    episode_return: jax.Array
    length: jax.Array
    solved: jax.Array


def play(
    env: Environment,
    params: Params,
    policy: Policy,
    start: tuple[PyTree, PyTree],
    key: jax.Array,
    num_steps: int,
    carry: PyTree = None,
) -> Episodes:
    """Plays whole episodes side by side.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        policy: `(observations [M, ...], key) -> actions [M, ...]`; with a carry,
            `(observations, key, carry) -> (actions, carry)`.
        start: observations and states to start from, leaves [M, ...].
        key: a `jax.random.key`.
        num_steps: longest episode; what is still running then counts as it stands.
        carry: what a policy with a memory remembers before the first step, leaves [M, ...].
    """
    num_episodes = jax.tree.leaves(start)[0].shape[0]

    def step(carry, step_key):
        observation, state, alive, episodes, remembered = carry
        act_key, env_key = jax.random.split(step_key)
        if remembered is None:
            action = policy(observation, act_key)
        else:
            action, remembered = policy(observation, act_key, remembered)
        keys = jax.random.split(env_key, num_episodes)
        outcome = step_all(env, params, keys, state, action)
        ended = outcome.terminated | outcome.truncated
        episodes = Episodes(
            episode_return=episodes.episode_return + jnp.where(alive, outcome.unshaped_reward, 0.0),
            length=episodes.length + alive,
            solved=jnp.where(alive, outcome.solved, episodes.solved),  # what counts is how it ends
        )
        return (outcome.observation, outcome.env_state, alive & ~ended, episodes, remembered), None

    episodes = Episodes(
        episode_return=jnp.zeros(num_episodes),
        length=jnp.zeros(num_episodes, jnp.int32),
        solved=jnp.zeros(num_episodes, bool),
    )
    first = (*jax.tree.map(jnp.asarray, start), jnp.ones(num_episodes, bool), episodes, carry)
    return jax.lax.scan(step, first, jax.random.split(key, num_steps))[0][3]


def fresh_starts(
    env: Environment, params: Params, key: jax.Array, num_episodes: int
) -> tuple[PyTree, PyTree]:
    """Observations and states of M episodes that the environment's own reset begins."""
    return jax.vmap(env.reset_env, (0, None))(jax.random.split(key, num_episodes), params)


def evaluate(
    env: Environment,
    params: Params,
    policy: Policy,
    learners: PyTree,
    key: jax.Array,
    num_episodes: int,
    num_steps: int,
    starts: tuple[PyTree, PyTree] | None = None,
    block: int | None = None,
    initial_carry: Callable[[int], PyTree] | None = None,
) -> Episodes:
    """Episodes of every learner under every set of parameters, on all local devices in use.

    Every learner and every set of parameters meets the same keys, whatever the number of devices. The program
    is compiled once for equal arguments and shapes.

    Args:
        env: an environment of the gymnax contract.
        params: parameters, leaves [G, ...].
        policy: `(learner, observations [B, ...], key) -> actions [B, ...]`; with a carry,
            `(learner, observations, key, carry) -> (actions, carry)`.
        learners: leaves [S, ...].
        key: a `jax.random.key`.
        num_episodes: M, for each learner and each set of parameters.
        num_steps: longest episode.
        starts: observations and states that the episodes start from, leaves [M, ...]; by default each set of
            parameters is reset afresh.
        block: episodes stepped side by side; by default 128 on a CPU and all of them on a GPU.
        initial_carry: `(B) -> carry` of a policy with a memory, leaves [B, ...]; None, or a function that
            returns it, for one without.

    Returns:
        NumPy arrays [S, G, M].
    """
    block = min(block or episodes_side_by_side(num_episodes), num_episodes)
    num_blocks = -(-num_episodes // block)
    num_seeds, num_params = (jax.tree.leaves(tree)[0].shape[0] for tree in (learners, params))
    items = [axis.ravel() for axis in np.indices((num_seeds, num_params, num_blocks))]
    devices = local_devices()
    padding = -len(items[0]) % len(devices)
    items = [np.pad(axis, (0, padding)) for axis in items]

    if starts is not None:
        number = np.arange(num_blocks * block) % num_episodes
        starts = jax.tree.map(lambda leaf: _blocks(np.asarray(leaf)[number], block), starts)

    learners, params = jax.tree.map(np.asarray, (learners, params))
    arguments = (learners, params, jax.random.split(key, num_blocks), starts, items)

    def program(devices):
        what: Any = (env, policy, num_steps, block, initial_carry, tuple(devices))
        try:
            return _program(*what)
        except TypeError:  # something that cannot be looked up
            return _program.__wrapped__(*what)

    run = program(devices)
    traced = run.trace(*arguments)
    refuse_empty_constants(traced)
    if not safe(devices, traced.jaxpr):
        run = program(devices[:1])
    found = run(*arguments)

    def arrange(leaf):  # [items, block] -> [S, G, M]
        leaf = np.asarray(leaf)[: num_seeds * num_params * num_blocks]
        return leaf.reshape(num_seeds, num_params, -1)[..., :num_episodes]

    return jax.tree.map(arrange, found)


@lru_cache(_PROGRAMS)
def _program(
    env: Environment,
    policy: Policy,
    num_steps: int,
    block: int,
    initial_carry: Callable[[int], PyTree] | None,
    devices: tuple[jax.Device, ...],
) -> Callable[..., Episodes]:
    """Plays blocks of episodes, shared among devices: see `evaluate`."""

    def run(learners, params, keys, starts, items):
        def one_block(item):
            seed, row, number = item
            learner = jax.tree.map(lambda leaf: leaf[seed], learners)
            row_params = jax.tree.map(lambda leaf: leaf[row], params)
            act = partial(policy, learner)
            reset_key, run_key = jax.random.split(keys[number])
            if starts is None:
                start = fresh_starts(env, row_params, reset_key, block)
            else:
                start = jax.tree.map(lambda leaf: leaf[number], starts)
            carry = initial_carry(block) if initial_carry else None
            return play(env, row_params, act, start, run_key, num_steps, carry)

        return jax.lax.map(one_block, tuple(items))

    shared, split = PartitionSpec(), PartitionSpec("devices")
    mesh = Mesh(np.array(devices), ("devices",))
    specs = (shared, shared, shared, shared, split)
    return jax.jit(over_devices(run, mesh, specs, split))


def _blocks(leaf: np.ndarray, block: int) -> np.ndarray:
    return leaf.reshape(-1, block, *leaf.shape[1:])


def summarize(returns: np.ndarray) -> dict[str, Any]:
    """What a report says of returns, float32 [S, M].

    Returns:
        `mean` over all; `sem`, the standard error of the mean: over seeds where there are several (they are
        the independent draws), else over episodes; `episodes`, for each seed; `per_seed`, one mean a seed.
    """
    num_seeds, num_episodes = returns.shape
    per_seed = returns.astype(np.float64).mean(1)
    draws = per_seed if num_seeds > 1 else returns[0].astype(np.float64)
    sem = draws.std(ddof=1) / np.sqrt(draws.size) if draws.size > 1 else 0.0
    return {
        "mean": float(per_seed.mean()),
        "sem": float(sem),
        "episodes": num_episodes,
        "per_seed": per_seed.tolist(),
    }
