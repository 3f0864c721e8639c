"""What SAC refuses before anything is compiled."""

import jax.numpy as jnp
import pytest

from purerl import spaces
from purerl.algorithms.exploration import check_bounded
from purerl.algorithms.sac import SACConfig

CONFIG = SACConfig(num_envs=8, buffer_size=2048, warmup_steps=64)


def test_a_box_without_bounds_is_refused():
    with pytest.raises(ValueError, match="no finite bounds"):
        check_bounded(spaces.Box(-jnp.inf, jnp.inf, (1,)))
