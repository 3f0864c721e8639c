"""Exact functions of arrays: they know no environment, no network and no algorithm."""
