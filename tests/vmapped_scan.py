"""Four seeds of a scanned PPO under vmap, in a process of their own: what hangs without the right flags."""

import jax
from probes import ActionFollowsCue

from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import sweep
from purerl.networks import NetworkConfig, make_actor_critic


def main():
    env = ActionFollowsCue(num_actions=2)
    network = make_actor_critic(env, env.default_params, "mlp", NetworkConfig(width=32, head_width=0))
    config = PPOConfig(num_envs=64, num_steps=32, microbatch_size=0, env_params=env.default_params)
    keys = jax.random.split(jax.random.key(0), 4)
    state, _ = jax.jit(lambda keys: sweep(make_ppo(env, network), config, keys, 20))(keys)
    assert (state.num_updates == 20).all()
