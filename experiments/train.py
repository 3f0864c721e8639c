"""Any algorithm on any registered environment.

    python experiments/train.py --algorithm pqn --env CartPole-v1

    python experiments/train.py --algorithm sac --help

Every algorithm in `purerl/algorithms` that ends with its entry is offered, with the options of its own.
"""

import sys

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.registry import make_environment, short_name
from purerl.experiment.any_algorithm import AnyRun, any_experiment, asked_for, config_class
from purerl.run import cli
from purerl.run.experiment import Experiment

Config = config_class(asked_for(sys.argv[1:]))


def build(config: AnyRun) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_environment(config.env)
    return any_experiment(config, env, params, short_name(config.env))


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
