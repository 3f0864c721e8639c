"""What a replay takes in memory, known before anything is compiled."""

import math

import jax

from purerl.replay.buffers import Replay
from purerl.replay.storage import Experience


def estimate_bytes(
    replay: Replay, example: Experience, buffer_size: int, num_envs: int, num_seeds: int = 1
) -> int:
    """Bytes that the state of a replay takes.

    Args:
        replay: the kind of replay.
        example: experience of one environment, leaves [...] or their shapes.
        buffer_size: rows of all environments together.
        num_envs: E.
        num_seeds: runs side by side, each with a replay of its own.
    """
    state = jax.eval_shape(lambda: replay.init(example, buffer_size, num_envs))
    return num_seeds * sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def check_fits(
    replay: Replay,
    example: Experience,
    buffer_size: int,
    num_envs: int,
    num_seeds: int,
    available: int | None,
) -> int:
    """Refuses a replay that memory cannot hold; returns the bytes that it takes.

    Args:
        replay: the kind of replay.
        example: experience of one environment, leaves [...] or their shapes.
        buffer_size: rows of all environments together.
        num_envs: E.
        num_seeds: runs side by side.
        available: bytes that are free; None where that is unknown, and nothing is refused.

    Raises:
        ValueError: names the buffer_size, or the number of seeds, that would fit.
    """
    needed = estimate_bytes(replay, example, buffer_size, num_envs, num_seeds)
    if available is None or needed <= available:
        return needed
    fitting = _two_digits(int(buffer_size * available / needed))
    seeds = int(num_seeds * available / needed)
    fewer = f", or num_seeds = {seeds}" if num_seeds > 1 and seeds else ""
    raise ValueError(
        f"a replay of buffer_size = {buffer_size} takes {in_words(needed)} for num_seeds = {num_seeds}, and "
        f"{in_words(available)} are free; try buffer_size = {fitting}{fewer}"
    )


def in_words(count: int) -> str:
    """A number of bytes for people: 1.2 GiB."""
    unit = min(int(math.log(max(count, 1), 1024)), 4)
    return f"{count / 1024**unit:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}"


def _two_digits(count: int) -> int:
    """Rounded down to two significant digits."""
    unit = 10 ** max(len(str(count)) - 2, 0)
    return count // unit * unit
