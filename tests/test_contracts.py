"""An environment that breaks the contract is refused in one line, before anything is compiled."""

import jax.numpy as jnp
import pytest
from probes import ContinuousTarget, ProbeState

from purerl import spaces
from purerl.contracts import check_environment


class Changed(ContinuousTarget):
    """A contract broken in one place."""

    def __init__(self, **changed):
        super().__init__()
        for name, value in changed.items():
            object.__setattr__(self, name, value)


def step_with(**changed):
    """`step_env` with other values in the place of its own."""

    def step_env(key, state, action, params):
        names = ("observation", "state", "reward", "terminated", "info")
        parts = dict(zip(names, ContinuousTarget().step_env(key, state, action, params), strict=True))
        return tuple((parts | changed).values())

    return step_env


def offering(space):
    return {"action_space": lambda params: space}


STATE = ProbeState(cue=jnp.float32(0.0), time=jnp.float32(0.0))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"step_env": step_with(reward=jnp.zeros(1))}, "reward is of shape (1,); it has to be one number"),
        ({"step_env": step_with(terminated=jnp.zeros(2))}, "terminated is of shape (2,)"),
        ({"step_env": step_with(info={"solved": jnp.zeros(3)})}, "solved is of shape (3,)"),
        ({"step_env": step_with(info=None)}, "info of step_env is a NoneType, not a dict"),
        (
            {"step_env": step_with(observation=jnp.zeros(3))},
            "is float32[2] after reset_env and float32[3]",
        ),
        ({"step_env": step_with(state=STATE)}, "state.time is int32[] after reset_env and float32[]"),
        ({"step_env": step_with(observation=(jnp.zeros(2),))}, "another structure than that of reset_env"),
        ({"step_env": lambda *inputs: step_with()(*inputs)[:4]}, "step_env returns 4 values"),
        ({"reset_env": lambda key, params: jnp.zeros(2)}, "reset_env returns a ShapeDtypeStruct"),
        ({"reset_env": lambda key, params: 1 / 0}, "reset_env fails with ZeroDivisionError"),
        ({"is_truncated": None}, "has no method is_truncated"),
        (
            {"observe_state": lambda state, params: jnp.zeros(3)},
            "is float32[2] after reset_env and float32[3] after observe_state",
        ),
        (offering(spaces.MultiDiscrete((2, 2))), "actions of the kind MultiDiscrete are not handled"),
        (offering(spaces.Dict({"a": spaces.Discrete(2)})), "actions of the kind Dict are not handled"),
        (offering(spaces.Tuple((spaces.Discrete(2),))), "actions of the kind Tuple are not handled"),
    ],
)
def test_a_broken_contract_is_one_line(changed, sentence):
    check_environment(Changed(), Changed().default_params)
    with pytest.raises(ValueError) as refused:
        check_environment(Changed(**changed), Changed().default_params)
    assert sentence in str(refused.value)
    assert str(refused.value).startswith("Changed: ") or str(refused.value).startswith("Changed has")
    assert "\n" not in str(refused.value)
