"""What a person may choose of a curriculum, and what of it cannot be meant."""

from dataclasses import dataclass
from typing import Literal

from purerl import ranges
from purerl.ranges import Count, Positive, Share
from purerl.types import Levels

CurriculumName = Literal["fixed", "random", "schedule", "adaptive", "plr", "accel"]
ScoreName = Literal["max_monte_carlo", "positive_value_loss", "learnability"]


@dataclass(frozen=True)
class CurriculumOptions:
    """Which levels training meets, and when."""

    name: CurriculumName = "schedule"
    """fixed: the same levels throughout; random: fresh ones of full hardness; schedule: hardness rises with
    the square root of progress; adaptive: hardness follows the solve rate; plr: prioritized level replay;
    accel: the same with mutations of the best."""
    ramp: Positive = 0.6
    """schedule: share of the training after which hardness is full."""
    initial_hardness: Share = 0.0
    """schedule, adaptive: hardness at the start."""
    hardness_step: Positive = 0.02
    """adaptive: how far hardness moves at once."""
    solve_rate_high: Share = 0.8
    """adaptive: above this solve rate hardness rises."""
    solve_rate_low: Share = 0.5
    """adaptive: below this solve rate hardness falls."""
    window: Count = 2000
    """adaptive: episodes over which the solve rate is counted before hardness may move."""
    score: ScoreName = "positive_value_loss"
    """plr, accel: what makes a level worth playing again."""
    replay_share: Share = 0.5
    """plr, accel: share of the episodes that are played on replayed levels, the rest on candidates."""
    candidate_share: Share = 0.25
    """plr, accel: share of the pool that holds candidates, which wait for their first score."""
    episodes_per_score: Count = 1
    """plr, accel: episodes after which a level gets a score, and a new one; learnability needs several."""
    temperature: Positive = 1.0
    """plr, accel: replay in proportion to (1 / rank) ** (1 / temperature)."""
    staleness: Share = 0.1
    """plr, accel: weight of the time since a level was played last, against its score."""
    robust: bool = False
    """plr, accel: learn from replayed levels only; candidates are played for their score alone."""
    fresh_hardness: Share = 0.0
    """plr, accel: least hardness of fresh levels; each draws its own between this and 1."""
    mutation_share: Share = 0.75
    """accel: share of the candidates that are mutations of replayed levels, the rest are fresh."""


def check_curriculum(options: CurriculumOptions, levels: Levels) -> None:
    """Raises ValueError, with one line that names the remedy, where a curriculum cannot be meant."""
    ranges.check(options)
    if options.solve_rate_low > options.solve_rate_high:
        raise ValueError(
            f"solve_rate_low = {options.solve_rate_low} is above solve_rate_high = {options.solve_rate_high}"
        )
    if (
        options.name in ("plr", "accel")
        and options.score == "learnability"
        and options.episodes_per_score < 2
    ):
        raise ValueError(
            "score = 'learnability' is p (1 - p), which one episode cannot tell; set episodes_per_score to 4 "
            "or more"
        )
    if options.name == "accel" and levels.mutate is None:
        raise ValueError("curriculum 'accel' needs levels that can be mutated; use 'plr' here")


def check_pool(options: CurriculumOptions, num_levels: int) -> None:
    """Raises ValueError, with one line that names the remedy, where a pool is too small for a curriculum."""
    candidates = num_candidates(options, num_levels)
    if options.name in ("plr", "accel") and not 0 < candidates < num_levels:
        raise ValueError(
            f"candidate_share = {options.candidate_share} leaves {candidates} of {num_levels} levels to "
            "candidates; both candidates and replayed levels need at least one, so try candidate_share = "
            "0.25 and num_levels of 4 or more a device"
        )


def num_candidates(options: CurriculumOptions, num_levels: int) -> int:
    """Slots of a pool of `num_levels` that candidates take."""
    return round(options.candidate_share * num_levels)
