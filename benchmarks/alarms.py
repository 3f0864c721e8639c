"""Alarms on runs that succeed: `python -m benchmarks.alarms`, hours on two cores; `--only ppo` is a minute.

Each row trains a default command, every seed to its end, replays the alarms of each seed alone from the lines
of its `metrics.jsonl`, and counts those that were told on seeds that succeeded: their score, which is the
evaluation of the greedy policy, is at least what the task asks for. `PURERL_ALARM_SEEDS` says how many seeds,
10 by default, and `PURERL_ALARM_OPTIONS` adds options to every command, as "--total-steps 1e5".
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rows import Row, run_script, take
from purerl.run import directory
from purerl.view import records, scoring
from purerl.view.alarms import Told, replay

NUM_SEEDS = int(os.environ.get("PURERL_ALARM_SEEDS", "10"))
OPTIONS = tuple(shlex.split(os.environ.get("PURERL_ALARM_OPTIONS", "")))


class Default(NamedTuple):
    """A command that is meant to succeed.

    Attributes:
        script: of the experiment.
        least: score, the mean of the cells that the experiment is scored by, from which on a seed succeeded.
        options: of the command.
    """

    script: str
    least: float
    options: tuple[str, ...] = ()


COMMANDS = {
    "ppo": Default("ppo.py", 475.0),
    "dqn": Default("dqn.py", 475.0),
    "pqn": Default("dqn.py", 475.0, ("--algorithm", "pqn")),
    "sac": Default("sac.py", -200.0),
    "ppo_memory": Default("ppo_memory.py", 0.9),
    "ppo_maze": Default("ppo_maze.py", 0.9),
    "dqn_maze": Default("dqn_maze.py", 0.9),
    "ppo_bikkle": Default("ppo_bikkle.py", 7.6),
    "ppo_bikkle_curriculum": Default("ppo_bikkle_curriculum.py", 7.6),
    "sac_bikkle": Default("sac_bikkle.py", 7.6),
    "ppo_ant": Default("ppo_ant.py", 1000.0),
}
"""CartPole-v1 counts as solved from 475 of 500 on, by its authors. Pendulum-v1 swings up and stays up from
about -200 on. Bikkle: half of the way from random play, -2.4 over the protocols, to the script that takes the
nearest pink pellet, 17.7. An ant that stands for a whole episode has about 1,000."""


def alarms_by_seed(
    lines: Sequence[dict[str, Any]], seeds: Sequence[int], num_chunks: int
) -> list[list[Told]]:
    """What a run of each seed alone would have told."""
    found = []
    for position, seed in enumerate(seeds):
        alone = [
            line
            | {
                "metrics": {name: [values[position]] for name, values in line["metrics"].items()},
                "failed_seeds": [failed for failed in line["failed_seeds"] if failed == seed],
            }
            for line in lines
        ]
        found.append(replay(alone, (seed,), num_chunks).told)
    return found


def count(name: str, default: Default) -> list[Row]:
    """Trains the seeds of a default command and counts alarms on those that succeeded."""
    options = (*default.options, "--num-seeds", str(NUM_SEEDS), *OPTIONS)
    script = f"experiments/{default.script}"
    with tempfile.TemporaryDirectory() as room:
        summary, _ = run_script(script, Path(room), name, *options)
        lines = records.read(Path(room) / name / directory.METRICS_FILE)
    scores = scoring.cell_scores(summary["score"])
    assert scores is not None
    told = alarms_by_seed(lines, summary["seeds"], len(lines))
    succeeded = [position for position, score in enumerate(scores) if score >= default.least]
    for position in succeeded:
        for each in told[position]:
            ended = "stands" if each.ended is None else f"over since {each.ended} steps"
            who = f"{name}, seed {summary['seeds'][position]}, after {each.env_steps} steps"
            print(f"{who}: {each.alarm.sentence} ({ended})")
    command = f"python {script} {' '.join(options)}"
    each_row = partial(Row, command=command, lower_is_better=True)
    return [
        each_row(
            f"{name}, alarms told on seeds that succeeded",
            float(sum(len(told[position]) for position in succeeded)),
            "alarms",
            floor=0.0,
        ),
        each_row(
            f"{name}, alarms that stand at the end of these",
            float(sum(each.ended is None for position in succeeded for each in told[position])),
            "alarms",
            floor=0.0,
        ),
        Row(f"{name}, seeds of {NUM_SEEDS} that succeeded", float(len(succeeded)), "seeds", command=command),
    ]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    name: partial(count, name, default) for name, default in COMMANDS.items()
}

if __name__ == "__main__":
    take("alarms", MEASURES, str(__doc__))
