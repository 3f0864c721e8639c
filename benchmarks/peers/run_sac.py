"""SAC of stable-baselines3 or of sbx on Pendulum; prints one line of JSON. Runs where the library is.

python run_sac.py sbx --steps 1000
"""

import argparse
import json
import time
from importlib import import_module

WARMUP = 500
"""Steps before learning begins, and as many after it that do not count: compilation is among them."""


def main() -> None:
    """One environment, two hidden layers of 256, one gradient step of 256 transitions after each step."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("library", choices=("stable_baselines3", "sbx"))
    options.add_argument("--steps", type=int, default=1000, help="environment steps in one sample")
    options.add_argument("--samples", type=int, default=2)
    given = options.parse_args()
    learner = import_module(given.library).SAC(
        "MlpPolicy",
        "Pendulum-v1",
        policy_kwargs={"net_arch": [256, 256]},
        batch_size=256,
        buffer_size=100_000,
        learning_starts=WARMUP,
        device="cpu",
    )
    learner.learn(2 * WARMUP)
    rates = []
    for _ in range(given.samples):
        started = time.perf_counter()
        learner.learn(given.steps, reset_num_timesteps=False)
        rates.append(given.steps / (time.perf_counter() - started))
    print(json.dumps({"steps_per_second": rates}))


if __name__ == "__main__":
    main()
