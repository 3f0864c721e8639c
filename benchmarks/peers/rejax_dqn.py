"""rejax's DQN on CartPole at its own sizes; prints one line of JSON. Runs where rejax is installed."""

import json
import statistics
import time

import jax
from rejax import get_algo

NUM_STEPS = 100_000


def main() -> None:
    """Times three runs after one that compiles; nothing is evaluated on the way."""
    algorithm = get_algo("dqn").create(
        env="CartPole-v1",
        total_timesteps=NUM_STEPS,
        eval_freq=NUM_STEPS,
        num_envs=10,
        num_epochs=5,
        batch_size=100,
        buffer_size=50_000,
        fill_buffer=5_000,
        skip_initial_evaluation=True,
    )
    algorithm = algorithm.replace(eval_callback=lambda *_: ())
    train = jax.jit(algorithm.train)
    seconds = []
    for number in range(4):
        started = time.perf_counter()
        jax.block_until_ready(train(jax.random.PRNGKey(number)))
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"steps_per_second": NUM_STEPS / statistics.median(seconds[1:])}))


if __name__ == "__main__":
    main()
