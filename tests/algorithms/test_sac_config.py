"""What SAC refuses before anything is compiled."""

import jax.numpy as jnp
import pytest

from purerl import spaces
from purerl.algorithms.sac_config import SACConfig, check_sac

CONFIG = SACConfig(num_envs=8, capacity=2048, warmup_steps=64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 0}, "num_envs = 0 must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 must be above 0"),
        ({"gamma": 1.5}, "gamma = 1.5 must lie between 0 and 1"),
        ({"warmup_steps": 4000}, "warmup_steps = 4000 must lie between num_envs = 8 and capacity = 2048"),
        ({"temperature_learning_rate": -1.0}, "temperature_learning_rate = -1.0 must be 0 or more"),
        ({"event_share": 2.0}, "event_share = 2.0 must lie between 0 and 1"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_sac(CONFIG.replace(**changes), spaces.Box(-1.0, 1.0, (1,)))


def test_a_box_without_bounds_is_refused():
    with pytest.raises(ValueError, match="no finite bounds"):
        check_sac(CONFIG, spaces.Box(-jnp.inf, jnp.inf, (1,)))
