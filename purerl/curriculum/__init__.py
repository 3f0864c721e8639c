"""Curricula: what fills the pool that resets draw from, for every environment that offers `Levels`."""

from purerl.curriculum.hardness import follow_schedule, follow_solve_rate, keep, make_hardness
from purerl.curriculum.options import CurriculumOptions, check_curriculum
from purerl.curriculum.replay import make_replay
from purerl.types import Curriculum, Levels

__all__ = ["CurriculumOptions", "check_curriculum", "make_curriculum"]


def make_curriculum(levels: Levels, options: CurriculumOptions) -> Curriculum:
    """The curriculum that `options.name` names; see `CurriculumOptions`."""
    if options.name in ("plr", "accel"):
        return make_replay(levels, options)
    if options.name == "schedule":
        return make_hardness(levels, follow_schedule(options), options.initial_hardness)
    if options.name == "adaptive":
        return make_hardness(levels, follow_solve_rate(options), options.initial_hardness)
    return make_hardness(levels, keep, initial_hardness=1.0, fresh=options.name == "random")
