"""What SAC refuses before anything is compiled."""

import jax.numpy as jnp
import pytest

from purerl import spaces
from purerl.algorithms.sac_config import SACConfig, check_sac

CONFIG = SACConfig(num_envs=8, capacity=2048, warmup_steps=64)


def test_a_box_without_bounds_is_refused():
    with pytest.raises(ValueError, match="no finite bounds"):
        check_sac(CONFIG, spaces.Box(-jnp.inf, jnp.inf, (1,)))
