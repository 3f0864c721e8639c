"""Random histories for replays: every observation is different, so that none can be taken for another."""

import jax
import jax.numpy as jnp
import numpy as np
from plain_replay import Step

from purerl.replay import Experience


def history(num_steps, num_envs, seed=0, num_frames=1, terminates=0.15, truncates=0.15):
    """A batch for each time step, and the steps of each environment as a plain list.

    With k frames, observations stack them along the last axis; the first of an episode is repeated before it.
    """
    random = np.random.default_rng(seed)
    frame = lambda: random.integers(0, 256, (2, 3), np.uint8)  # noqa: E731
    stacked = lambda frames: np.stack(([frames[0]] * num_frames + frames)[-num_frames:], -1)  # noqa: E731
    frames, plain, batches = [[frame()] for _ in range(num_envs)], [[] for _ in range(num_envs)], []
    for _ in range(num_steps):
        row = []
        for env in range(num_envs):
            terminated = random.random() < terminates
            truncated = not terminated and random.random() < truncates
            before = stacked(frames[env])
            frames[env].append(frame())
            action, reward = random.integers(0, 4, dtype=np.int32), np.float32(round(random.normal(), 2))
            step = Step(before, action, reward, terminated, truncated, stacked(frames[env]))
            if terminated or truncated:
                frames[env] = [frame()]
            row.append(step)
            plain[env].append(step)
        columns = {name: np.stack([getattr(step, name) for step in row]) for name in Step._fields}
        batches.append(Experience(**columns))
    return batches, plain


def example(batches):
    """Experience of one environment."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], batches[0])
