"""The faults that a run is watched for: what each is called, what it looks at, and what to try first.

`docs/alarms.md` has a section for each, of the same name.
"""

from collections.abc import Callable
from typing import NamedTuple

from purerl.view import faults
from purerl.view.faults import Finding

PAGE = "docs/alarms.md"


class Rule(NamedTuple):
    """A fault and its remedy.

    Attributes:
        name: of the alarm.
        metrics: the metrics that it looks at; it is silent where a run lacks one of them.
        find: `(run, values [C, S] of each metric) -> Finding`; NaN where there is no value.
        advice: one sentence.
        optional: further metrics for `find`; None is handed in for those that a run lacks.
        layers: a metric that is there for each layer, too; the layer with the highest value is named.
    """

    name: str
    metrics: tuple[str, ...]
    find: Callable[..., Finding]
    advice: str
    optional: tuple[str, ...] = ()
    layers: str = ""

    @property
    def section(self) -> str:
        """Where the alarm is explained."""
        return section(self.name)


def section(name: str) -> str:
    """The section on the alarm of this name, as a link."""
    return f"{PAGE}#{name.lower().replace(' ', '-')}"


RULES = (
    Rule(
        "exploding gradient",
        ("gradient_norm",),
        faults.exploding_gradient,
        "Lower the learning rate, or bound the gradient with max_grad_norm.",
        optional=("clip_fraction", "episode_return"),
        layers="gradient_norm",
    ),
    Rule(
        "vanished gradient",
        ("gradient_norm",),
        faults.vanished_gradient,
        "Check that rewards differ at all, and that no part of the network is saturated.",
    ),
    Rule(
        "exploding KL",
        ("approx_kl", "clip_fraction"),
        faults.exploding_kl,
        "Lower the learning rate or the number of epochs; an earlier checkpoint may be better than this one.",
    ),
    Rule(
        "too large steps",
        ("approx_kl", "clip_fraction"),
        faults.too_large_steps,
        "Lower the learning rate or the number of epochs.",
    ),
    Rule(
        "too high learning rate",
        ("approx_kl", "entropy"),
        faults.too_high_learning_rate,
        "Lower the learning rate, or let it follow the KL with kl_target.",
    ),
    Rule(
        "collapsed entropy",
        ("entropy",),
        faults.collapsed_entropy,
        "Raise the entropy coefficient, or lower the learning rate.",
    ),
    Rule(
        "pinned entropy",
        ("entropy", "clip_fraction", "learning_rate"),
        faults.pinned_entropy,
        "The policy stands still: raise the learning rate, or look for bounds that hold its outputs.",
    ),
    Rule(
        "saturated actions",
        ("saturated_share",),
        faults.saturated_actions,
        "Lower the initial standard deviation or the learning rate, or widen the action space.",
    ),
    Rule(
        "dead agent",
        ("return_variance",),
        faults.dead_agent,
        "Nothing that it does changes the return: raise the entropy, or begin with easier levels.",
        optional=("episode_return",),
    ),
    Rule(
        "failing critic",
        ("explained_variance",),
        faults.failing_critic,
        "Lower the learning rate or the value coefficient, and check the scale of rewards.",
        optional=("return_variance", "return_mean"),
    ),
    Rule(
        "idle critic",
        ("explained_variance",),
        faults.idle_critic,
        "Raise the value coefficient, and check that observations tell what the return depends on.",
        optional=("return_variance", "return_mean"),
    ),
    Rule(
        "fallen return",
        ("episode_return",),
        faults.fallen_return,
        "Unless the levels have grown harder, lower the learning rate, and keep more checkpoints.",
        optional=("level_hardness",),
    ),
    Rule(
        "constant return",
        ("episode_return",),
        faults.constant_return,
        "Nothing is found to learn from: begin with easier levels, shape the reward or raise the entropy.",
    ),
    Rule(
        "no episodes",
        ("episode_return",),
        faults.no_episodes,
        "Check the time limit of the environment, or train for more steps.",
    ),
)

NOT_FINITE = "not finite"
"""The alarm of a seed that was left behind."""
