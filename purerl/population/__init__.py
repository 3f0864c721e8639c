"""Populations: members that train side by side, copy the better ones and change their hyperparameters."""

from purerl.population.evolution import PopulationOptions
from purerl.population.training import resume, train_population

__all__ = ["PopulationOptions", "resume", "train_population"]
