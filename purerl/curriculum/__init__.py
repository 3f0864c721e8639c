"""Curricula: what fills the pool that resets draw from, for every environment that offers `Levels`."""

from purerl.curriculum.hardness import follow_schedule, follow_solve_rate, keep, make_hardness
from purerl.curriculum.options import CurriculumOptions, check_curriculum, check_pool
from purerl.curriculum.replay import make_replay
from purerl.types import Curriculum, Levels

__all__ = ["CurriculumOptions", "make_curriculum"]


def make_curriculum(levels: Levels, options: CurriculumOptions, num_levels: int | None = None) -> Curriculum:
    """The curriculum that `options.name` names; see `CurriculumOptions`.

    Args:
        levels: of the environment.
        options: which curriculum, and its numbers.
        num_levels: that a pool will hold; where it is known, what does not fit is refused here already, and
            not when the program is traced.

    Raises:
        ValueError: one line that names the remedy, where a curriculum cannot be meant.
    """
    check_curriculum(options, levels)
    if num_levels is not None:
        check_pool(options, num_levels)
    if options.name in ("plr", "accel"):
        return make_replay(levels, options)
    if options.name == "schedule":
        return make_hardness(levels, follow_schedule(options), options.initial_hardness)
    if options.name == "adaptive":
        return make_hardness(levels, follow_solve_rate(options), options.initial_hardness)
    return make_hardness(levels, keep, initial_hardness=1.0, fresh=options.name == "random")
