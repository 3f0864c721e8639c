"""Environments that are stepped: levels they begin at, rollouts, evaluation."""
