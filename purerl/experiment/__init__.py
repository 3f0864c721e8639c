"""One call makes an experiment, of an environment and the configuration of an algorithm."""

from purerl.experiment.making import experiment

__all__ = ["experiment"]
