"""PureRL: reinforcement learning as one compiled JAX program."""

from purerl.compile.runtime import configure

configure()

__version__ = "0.1.0"
