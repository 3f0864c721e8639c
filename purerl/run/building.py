"""From a configuration to its experiment: what cannot run is refused here, before anything is compiled."""

import re
from collections.abc import Callable
from typing import Any

from purerl.host import limits
from purerl.host.errors import UserError, one_line
from purerl.ranges import INT32
from purerl.run.experiment import Experiment, RunOptions, check_options


def build_experiment(build: Callable[[Any], Experiment], config: RunOptions) -> Experiment:
    """The experiment that a configuration describes.

    Args:
        build: of the experiment.
        config: the configuration.

    Raises:
        UserError: it cannot be run; one line that names the option, its value and its range.
    """
    check_options(config)
    try:
        experiment = build(config)
    except (ValueError, OverflowError) as error:
        raise UserError(with_option(one_line(error), config)) from error
    except MemoryError as error:
        raise UserError("the experiment does not fit into memory; make it smaller") from error
    _check_counts(experiment, config.total_steps)
    return experiment


def with_option(message: str, config: Any) -> str:
    """A message about fields, "gamma = 2.0 must ...", with the options that set them: "--ppo.gamma is 2.0".

    A field stays as it is where no option of that name has that value, or several have.
    """
    given = [(name, value) for name, value, _ in limits.values_of(config)]

    def named(found: re.Match[str]) -> str:
        field, text = (
            found.group(1).removeprefix("shaping_"),
            found.group(2),
        )  # shaping_gamma is the learner's
        options = {
            name for name, value in given if name.rpartition(".")[2] == field and text in _spellings(value)
        }
        if len(options) != 1:
            return found.group()
        option = "--" + options.pop().replace("_", "-")
        is_range = not found.start() and message[found.end() :].startswith(" must ")
        return f"{option} is {text}; it" if is_range else f"{option} {text}"

    return re.sub(r"(?:\bmemory )?\b(\w+) = ([^\s;,:]+)(?![^\s;,:])", named, message)


def _spellings(value: Any) -> tuple[str, ...]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (str(value), repr(value), f"{value:g}") if number else (str(value), repr(value))


def _check_counts(experiment: Experiment, total_steps: int) -> None:
    """Refuse runs whose steps cannot be counted in 32 bits."""
    per_update = int(experiment.algorithm.steps_per_update(experiment.algorithm_config))
    if per_update > INT32.most:
        raise UserError(
            f"an update has {per_update} environment steps; at most {INT32.most} can be counted, "
            "take fewer environments or fewer steps of each"
        )
    most = INT32.most * per_update
    if total_steps > most:
        raise UserError(
            f"--total-steps is {total_steps}; it must be at most {most}, {INT32.most} updates of {per_update}"
        )
