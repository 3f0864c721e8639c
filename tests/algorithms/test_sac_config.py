"""What SAC refuses before anything is compiled."""

import jax.numpy as jnp
import pytest

from purerl import spaces
from purerl.algorithms.exploration import check_bounded
from purerl.algorithms.off_policy import check_off_policy
from purerl.algorithms.sac import SACConfig

CONFIG = SACConfig(num_envs=8, capacity=2048, warmup_steps=64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 0}, "num_envs = 0 must lie between 1 and"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 must be above 0"),
        ({"gamma": 1.5}, "gamma = 1.5 must lie between 0 and 1"),
        ({"warmup_steps": 4000}, "warmup_steps = 4000 is more than the replay holds; try capacity = 4000"),
        ({"temperature_learning_rate": -1.0}, "temperature_learning_rate = -1.0 must be at least 0"),
        ({"event_share": 2.0}, "event_share = 2.0 must lie between 0 and 1"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_off_policy(CONFIG.replace(**changes), 1)


def test_a_box_without_bounds_is_refused():
    with pytest.raises(ValueError, match="no finite bounds"):
        check_bounded(spaces.Box(-jnp.inf, jnp.inf, (1,)))
