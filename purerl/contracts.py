"""Whether an environment and a network keep their contracts, asked before anything is compiled."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from purerl.types import INFO, ActionSpace, Environment, Network, Params, PyTree, Space

METHODS = ("reset_env", "step_env", "is_truncated", "observation_space", "action_space")


def check_environment(env: Environment, params: Params) -> None:
    """Traces a reset and a step of one environment, without running them.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.

    Raises:
        ValueError: one line that says which part of the contract is broken, and how.
    """
    name = getattr(env, "name", type(env).__name__)
    for method in METHODS:
        if not callable(getattr(env, method, None)):
            raise ValueError(f"{name} has no method {method}; see purerl.types.Environment for the contract")
    key, space = jax.random.key(0), env.action_space(params)
    check_actions(name, space)
    started = _trace(name, "reset_env", env.reset_env, key, params)
    _check_count(name, "reset_env", started, ("observation", "state"))
    observation, state = started
    action = jax.ShapeDtypeStruct(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
    stepped = _trace(name, "step_env", env.step_env, key, state, action, params)
    _check_count(name, "step_env", stepped, ("observation", "state", "reward", "terminated", "info"))
    after, after_state, reward, terminated, info = stepped
    _check_same(name, "observation", observation, after)
    _check_same(name, "state", state, after_state)
    if not isinstance(info, Mapping):
        raise ValueError(f"{name}: info of step_env is a {type(info).__name__}, not a dict")
    look_again = getattr(env, "observe_state", None)
    if look_again is not None:
        again = _trace(name, "observe_state", look_again, state, params)
        _check_same(name, "observation", observation, again, "observe_state")
    truncated = _trace(name, "is_truncated", env.is_truncated, state, params)
    told = {key: info[key] for key in INFO if key in info}
    scalars = {"reward": reward, "terminated": terminated, "is_truncated": truncated} | told
    for part, value in scalars.items():
        shape = getattr(value, "shape", None)
        if shape != ():
            seen = f"of shape {shape}" if shape is not None else f"a {type(value).__name__}"
            raise ValueError(f"{name}: {part} is {seen}; it has to be one number for each environment")


Kind = Literal["actor_critic", "action_values", "soft_actor_critic"]
"""Which of the protocols of `purerl.types` a network is to keep; each algorithm says which one it needs."""
BATCH, STEPS = 5, 3
"""Samples and steps of the traced shapes; no layer is likely to have either as its width by chance."""


def check_network(network: Network, env: Environment, params: Params, kind: Kind = "actor_critic") -> None:
    """Traces what an algorithm asks of a network, with the observations of an environment.

    Nothing is compiled or run. What shapes cannot show, as that masked tokens leak, is not seen.

    Args:
        network: a flax module, or whatever has its `init` and `apply`.
        env: an environment that `check_environment` lets pass.
        params: its parameters.
        kind: "actor_critic" for PPO and its like, "action_values" for DQN and PQN, "soft_actor_critic" for
            SAC.

    Raises:
        ValueError: one line that says which part of the contract is broken, and how.
    """
    for method in ("init", "apply", *METHODS_OF_NETWORKS[kind]):
        if not callable(getattr(network, method, None)):
            protocol = PROTOCOLS[kind]
            raise ValueError(f"{_name(network)} has no method {method}; see purerl.types.{protocol}")
    single = jax.eval_shape(env.reset_env, jax.random.key(0), params)[0]
    checks = {
        "actor_critic": _check_actor_critic,
        "action_values": _check_action_values,
        "soft_actor_critic": _check_soft_actor_critic,
    }
    checks[kind](network, _batched(single, BATCH), env.action_space(params))


METHODS_OF_NETWORKS: dict[Kind, tuple[str, ...]] = {
    "actor_critic": ("initial_carry", "step", "next_value"),
    "action_values": (),
    "soft_actor_critic": ("policy", "features", "values"),
}
PROTOCOLS: dict[Kind, str] = {
    "actor_critic": "ActorCriticNetwork",
    "action_values": "ActionValueNetwork",
    "soft_actor_critic": "SoftActorCriticNetwork",
}


def _check_actor_critic(network: Any, observation: PyTree, space: ActionSpace) -> None:
    name, is_first = _name(network), jax.ShapeDtypeStruct((BATCH,), bool)
    carry = _trace(name, "initial_carry", lambda: network.initial_carry(BATCH))
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if leaf.shape[:1] != (BATCH,):
            raise ValueError(
                f"{name}: initial_carry({BATCH}){jax.tree_util.keystr(path)} is {_describe(leaf)}; its first "
                f"axis has to be the batch of {BATCH}"
            )
    init = partial(network.init, method="step")
    variables = _trace(name, "init of step", init, jax.random.key(0), carry, observation, is_first)
    step = partial(network.apply, method="step")
    _judges(name, "step", 3, step, space, (BATCH,), variables, carry, observation, is_first)
    after = jax.eval_shape(lambda *inputs: step(*inputs)[0], variables, carry, observation, is_first)
    _check_same(name, "carry", carry, after, "step", "initial_carry")
    value = partial(network.apply, method="next_value")
    _check_values(
        name, "next_value", _trace(name, "next_value", value, variables, carry, observation), (BATCH,)
    )
    if not jax.tree.leaves(carry):
        _judges(name, "a call", 2, network.apply, space, (BATCH,), variables, observation)
        return
    segment, is_first = _batched(observation, STEPS), jax.ShapeDtypeStruct((STEPS, BATCH), bool)
    inputs = (variables, segment, carry, is_first)
    _judges(name, "a call with segments", 2, network.apply, space, (STEPS, BATCH), *inputs)


def _check_action_values(network: Any, observation: PyTree, space: ActionSpace) -> None:
    name = _name(network)
    if not hasattr(space, "n"):
        raise ValueError(
            f"{name}: action values need a choice of actions, and this environment takes numbers"
        )
    variables = _trace(name, "init", network.init, jax.random.key(0), observation)
    values = _trace(name, "a call", network.apply, variables, observation)
    _check_values(name, "a call", values, (int(space.n), BATCH))


def _check_soft_actor_critic(network: Any, observation: PyTree, space: ActionSpace) -> None:
    name = _name(network)
    for field in ("action_size", "discrete", "periodic"):
        if not hasattr(network, field):
            raise ValueError(f"{name} has no field {field}; see purerl.types.SoftActorCriticNetwork")
    size = int(space.n) if hasattr(space, "n") else math.prod(space.shape) * (2 if network.periodic else 1)
    if (bool(network.discrete), network.action_size) != (hasattr(space, "n"), size):
        kind = f"a choice of {size}" if hasattr(space, "n") else f"{size} numbers"
        raise ValueError(
            f"{name}: action_size = {network.action_size} and discrete = {network.discrete} do not fit the "
            f"actions of the environment, {kind}"
        )
    form: tuple[Any, Any] = ((BATCH,), jnp.int32) if network.discrete else ((BATCH, size), jnp.float32)
    action = jax.ShapeDtypeStruct(*form)
    variables = _trace(name, "init", network.init, jax.random.key(0), observation, action)
    policy = partial(network.apply, method="policy")
    chosen = _trace(name, "policy", lambda *inputs: _ask(policy(*inputs), space), variables, observation)
    _check_policy(name, "policy", chosen, action, (BATCH,))
    features = _trace(name, "features", partial(network.apply, method="features"), variables, observation)
    values = _trace(name, "values", partial(network.apply, method="values"), variables, features, action)
    shape = getattr(values, "shape", (1,))
    _check_values(name, "values", values, (shape[0], BATCH, size) if network.discrete else (shape[0], BATCH))


def _judges(
    name: str,
    method: str,
    count: int,
    call: Callable[..., Any],
    space: ActionSpace,
    shape: tuple[int, ...],
    *inputs: PyTree,
) -> None:
    """Whether a call returns, at its end, a policy and values for samples of a shape, as the space wants."""
    parts = ("carry", "policy", "values")[3 - count :]
    own = () if hasattr(space, "n") else (math.prod(space.shape),)
    action = jax.ShapeDtypeStruct(shape + own, jnp.float32 if own else jnp.int32)

    def ask(*inputs: PyTree) -> Any:
        found = call(*inputs)
        if not isinstance(found, tuple) or len(found) != count:
            return found
        return *found[:-2], _ask(found[-2], space), found[-1]

    found = _trace(name, method, ask, *inputs)
    _check_count(name, method, found, parts)
    _check_policy(name, method, found[-2], action, shape)
    _check_values(name, method, found[-1], shape)


class _NoPolicy(Exception):
    """What a network gives for a policy is none."""


def _ask(policy: Any, space: ActionSpace) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A sample of a policy, its mode and the log-probability of the sample."""
    kind = "an array" if isinstance(policy, jax.Array) else f"a {type(policy).__name__}"
    for method in ("sample", "log_prob", "mode"):
        if not callable(getattr(policy, method, None)):
            raise _NoPolicy(f"is {kind} without {method}(); distrax has such distributions")
    count, wanted = getattr(policy, "num_categories", None), getattr(space, "n", None)
    if count is not None and wanted is not None and count != wanted:
        raise _NoPolicy(f"chooses among {count} actions, and the environment has {wanted}")
    sample, mode = policy.sample(seed=jax.random.key(0)), policy.mode()
    return sample, mode, policy.log_prob(sample)


def _check_policy(name: str, method: str, found: Any, action: Any, shape: tuple[int, ...]) -> None:
    sample, mode, log_prob = found
    for part, leaf in (("a sample", sample), ("the mode", mode)):
        if leaf.shape != action.shape or leaf.dtype.kind != action.dtype.kind:
            raise ValueError(
                f"{name}: {part} of the policy of {method} is {_describe(leaf)}; the actions of the "
                f"environment make it {_describe(action)}"
            )
    if log_prob.shape != shape:
        raise ValueError(
            f"{name}: log_prob of the policy of {method} is {_describe(log_prob)}; it has to be one number "
            f"for each sample, float32[{','.join(map(str, shape))}]"
        )


def _check_values(name: str, method: str, found: Any, shape: tuple[int, ...]) -> None:
    wanted = jax.ShapeDtypeStruct(shape, jnp.float32)
    if getattr(found, "shape", None) != shape or found.dtype != jnp.float32:
        seen = _describe(found) if hasattr(found, "shape") else f"a {type(found).__name__}"
        raise ValueError(f"{name}: the values of {method} are {seen}; they have to be {_describe(wanted)}")


def _batched(tree: PyTree, size: int) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype), tree)


def _name(network: Any) -> str:
    return getattr(network, "name", None) or type(network).__name__


def check_actions(name: str, space: Space) -> None:
    """Raises ValueError, with one line, where a policy cannot choose from a space of actions."""
    kind = type(space).__name__
    is_choice = hasattr(space, "n") and getattr(space, "shape", ()) == ()
    start = getattr(space, "start", 0)
    if is_choice and start:
        raise ValueError(f"{name}: actions that begin at {start} are not handled; number them from 0")
    if not is_choice and (hasattr(space, "n") or not hasattr(space, "low")):
        raise ValueError(
            f"{name}: actions of the kind {kind} are not handled; offer one Discrete choice (of all "
            "combinations, where there are few) or one Box of numbers"
        )


def _trace(name: str, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except _NoPolicy as error:
        raise ValueError(f"{name}: the policy of {method} {error}") from error
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"{name}: {method} fails with {type(error).__name__}: {first}") from error


def _check_count(name: str, method: str, found: Any, parts: tuple[str, ...]) -> None:
    if not isinstance(found, tuple) or len(found) != len(parts):
        count = f"{len(found)} values" if isinstance(found, tuple) else f"a {type(found).__name__}"
        raise ValueError(f"{name}: {method} returns {count}; it has to return {', '.join(parts)}")


def _check_same(
    name: str,
    part: str,
    before: PyTree,
    after: PyTree,
    method: str = "step_env",
    first_method: str = "reset_env",
) -> None:
    """Whether what one method gives can stand in the place of what another gives."""
    first_form, form = str(jax.tree.structure(before)), str(jax.tree.structure(after))
    if form != first_form:
        raise ValueError(
            f"{name}: the {part} of {method} has another structure than that of {first_method}: "
            f"{form}, not {first_form}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, first), then in pairs:
        if (first.shape, first.dtype) != (then.shape, then.dtype):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name}: the {part}{where} is {_describe(first)} after {first_method} and {_describe(then)} "
                f"after {method}; give it one shape and dtype"
            )


def _describe(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
