"""One algorithm of rejax at given sizes, without evaluation; prints one line of JSON. Runs where rejax is.

python run_rejax.py ppo CartPole-v1 '{"num_envs": 4, "num_steps": 128}' --steps 100000 --seeds 16
"""

import argparse
import json
import time

import jax
from rejax import get_algo


def main() -> None:
    """Compiles a beginning and a continuation, as ours are; goes on once to warm up, then for the clock."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("algorithm")
    options.add_argument("env")
    options.add_argument("settings", type=json.loads, help="arguments of the algorithm, as JSON")
    options.add_argument(
        "--steps", type=int, default=100_000, help="environment steps of a seed in one sample"
    )
    options.add_argument("--samples", type=int, default=2)
    options.add_argument("--seeds", type=int, default=1, help="mapped side by side where there are several")
    given = options.parse_args()
    algorithm = get_algo(given.algorithm).create(
        env=given.env,
        total_timesteps=given.steps,
        eval_freq=given.steps,
        skip_initial_evaluation=True,
        **given.settings,
    )
    algorithm = algorithm.replace(eval_callback=lambda *_: ())
    begin, go_on = algorithm.init_state, lambda state: algorithm.train(train_state=state)[0]
    keys = jax.random.PRNGKey(0)
    if given.seeds > 1:
        begin, go_on, keys = jax.vmap(begin), jax.vmap(go_on), jax.random.split(keys, given.seeds)

    started = time.perf_counter()
    lowered = jax.jit(begin).lower(keys)
    begin = lowered.compile()
    go_on = jax.jit(go_on).lower(lowered.out_info).compile()
    compile_seconds = time.perf_counter() - started

    state, rates = begin(keys), []
    for _ in range(given.samples + 1):
        started = time.perf_counter()
        state = jax.block_until_ready(go_on(state))
        rates.append(given.seeds * given.steps / (time.perf_counter() - started))
    print(json.dumps({"compile_seconds": [compile_seconds], "steps_per_second": rates[1:]}))


if __name__ == "__main__":
    main()
