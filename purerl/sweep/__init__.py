"""Many settings of the hyperparameters, each with several seeds, in as few programs as there can be."""

from purerl.sweep.settings import SweepOptions
from purerl.sweep.space import Choice, LogUniform, Uniform
from purerl.sweep.training import resume, sweep

__all__ = ["Choice", "LogUniform", "SweepOptions", "Uniform", "resume", "sweep"]
