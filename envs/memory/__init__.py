"""Small environments that cannot be solved without remembering."""

from envs.memory.chain import MemoryChain
from envs.memory.repeat import RepeatFirst, RepeatPrevious
from envs.memory.stateless_cartpole import StatelessCartPole

__all__ = ["MemoryChain", "RepeatFirst", "RepeatPrevious", "StatelessCartPole"]
