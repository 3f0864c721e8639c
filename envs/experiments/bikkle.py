"""Experiments in the Bikkle arena: the arena from the command line, its evaluation and its report."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.bikkle import GAZES, PROTOCOLS, Bikkle, BikkleParams, check, protocol_params
from envs.bikkle.params import MAX_PELLETS, GazeDelay, GazeLag
from envs.bikkle.protocols import ORIGINAL_RETURNS, controller_returns
from envs.bikkle.render import render_episode, save_gif
from purerl import ranges
from purerl.ranges import Count, CountOrZero, NotNegative, Number, Positive, Range, Share
from purerl.rollout.evaluate import Greedy, evaluate, summarize
from purerl.spaces import fit_action
from purerl.types import Algorithm, PyTree, TrainState
from purerl.view.scoring import cell_scores

ProtocolName = Literal["mixture", "record", "continuing_4", "continuing_16", "first_touch_4"]
EVALUATION = 0x6576616C
"""Folded into the key of a run, it gives the key of its evaluation."""
EVALUATED = ("record", "continuing_4", "continuing_16", "first_touch_4")

Policy = Any
PelletCount = Annotated[int, Range(2, MAX_PELLETS, whole=True)]


@dataclasses.dataclass(frozen=True)
class ArenaOptions:
    """The arena. Whatever is not given is taken from the protocol."""

    action: Literal["xy", "angle"] = "xy"
    """Two steps within [-1, 1], or one direction within [0, 1]."""
    num_pellets: tuple[PelletCount, ...] | None = None
    """Even counts, half of each blue; every episode draws one of them."""
    pellet_size: Positive | None = None
    """Radius of pellets and agent, in arena sides."""
    max_step: Positive | None = None
    """Longest move along an axis in one step, in arena sides."""
    blue_penalty: Number | None = None
    """Reward for touching a blue pellet."""
    pink_reward: Number | None = None
    """Reward for touching a pink pellet, and the least that the target gives."""
    target_reward: Number | None = None
    """Reward for touching the target when a round begins."""
    round_length: Count | None = None
    """Steps over which the target's value decays, and after which it is drawn anew."""
    continuing: bool | None = None
    """Whether the episode goes on after a touch."""
    max_steps_in_episode: Count | None = None
    """Steps after which an episode is cut."""
    shaping: Number | None = 3.0
    """Coefficient of the potential-based shaping reward in training; evaluation never has it."""
    gaze_source: tuple[Share, Share, Share, Share] | None = (0.3, 0.65, 0.05, 0.0)
    """Probabilities that an episode's gaze is none, target, uniform or external; no training has the last."""
    gaze_presence: Share | None = None
    """Probability that gaze and round are seen."""
    gaze_presence_per_episode: bool | None = None
    """Whether presence is drawn once an episode instead of at every step."""
    gaze_std: NotNegative | None = None
    """Standard deviation of the gaze's noise, in arena sides."""
    gaze_delay: GazeDelay | None = None
    """Steps by which the gaze is late."""
    gaze_lag: GazeLag | None = None
    """The gaze covers a share of 1 - gaze_lag of its way in a step."""
    gaze_offset_std: NotNegative | None = None
    """Standard deviation of an offset of the gaze drawn per episode, in arena sides."""
    gaze_dropout_rate: Share | None = None
    """Probability per step that the gaze is lost."""
    gaze_dropout_length: CountOrZero | None = None
    """Steps for which it stays lost."""


def make_arena(protocol: ProtocolName, options: ArenaOptions, gamma: float) -> tuple[Bikkle, BikkleParams]:
    """The arena to train in.

    Raises:
        ValueError: one line, where it cannot be meant.
    """
    ranges.check(options)
    given = {key: value for key, value in dataclasses.asdict(options).items() if value is not None}
    action = given.pop("action")
    params = dataclasses.replace(PROTOCOLS[protocol].params, shaping_gamma=gamma, **given)
    counts = np.atleast_1d(np.asarray(params.num_pellets))
    largest = max(int(counts.max(initial=2)), 2)
    env = Bikkle(max_pellets=largest + largest % 2, action=action)
    check(env, params)
    if params.gaze_source[3]:
        raise ValueError(
            f"gaze_source = {params.gaze_source} has a gaze from outside, which nobody gives in training; "
            "let the fourth probability be 0"
        )
    return env, params


class Arena(NamedTuple):
    """Evaluation on every protocol of the plain arena.

    Attributes:
        action: the kind of action.
        num_episodes: for each seed, protocol and gaze.
    """

    action: str
    num_episodes: int

    def evaluate(self, algorithm: Algorithm, learners: PyTree, seed: int) -> dict[str, dict[str, Any]]:
        """Protocol -> gaze -> statistics of the greedy policy; every cell meets episodes of its own.

        Args:
            algorithm: whose policy it is.
            learners: leaves [S, ...].
            seed: of the evaluation episodes, which training never draws.
        """
        return self._play(algorithm, learners, seed, self.num_episodes)

    def score(
        self, algorithm: Algorithm, learners: PyTree, seed: int, num_episodes: int
    ) -> np.ndarray | None:
        """Mean return of the greedy policy of each learner over all protocols and gazes, float64 [S].

        Args:
            algorithm: whose policy it is.
            learners: leaves [S, ...].
            seed: of the evaluation episodes.
            num_episodes: in all, shared equally and rounded up.
        """
        each = -(-num_episodes // (len(EVALUATED) * len(GAZES)))
        return cell_scores(self._play(algorithm, learners, seed, each))

    def _play(
        self, algorithm: Algorithm, learners: PyTree, seed: int, num_episodes: int
    ) -> dict[str, dict[str, Any]]:
        results: dict[str, dict[str, Any]] = {}
        for slots in sorted({_slots(name) for name in EVALUATED}):
            names = [name for name in EVALUATED if _slots(name) == slots]
            cells = [(name, gaze) for name in names for gaze in GAZES]
            params = [protocol_params(name, gaze) for name, gaze in cells]
            params = jax.tree.map(
                lambda *leaves: np.stack(leaves), *params, is_leaf=lambda x: isinstance(x, tuple)
            )
            key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
            greedy: Any = Greedy(algorithm.policy)
            env = Bikkle(slots, self.action)
            episodes = evaluate(env, params, greedy, learners, key, num_episodes, 200)
            for row, (name, gaze) in enumerate(cells):
                results.setdefault(name, {})[gaze] = summarize(np.asarray(episodes.episode_return[:, row]))
        return {name: results[name] for name in EVALUATED}

    def report(
        self,
        algorithm: Algorithm,
        run_dir: Path,
        state: TrainState,
        summary: dict[str, Any],
        console: Console,
    ) -> None:
        """Draws an episode of the first seed as `episode.gif`, and prints the table of results."""
        learner = jax.tree.map(lambda leaf: np.asarray(leaf)[0], state.learner)
        env, params = Bikkle(4, self.action), protocol_params("continuing_4", "target")
        play = jax.jit(partial(record_episode, env, algorithm.policy))
        states, rewards = jax.device_get(play(params, learner, jax.random.key(7)))
        save_gif(run_dir / "episode.gif", render_episode(states, rewards))
        console.print(results_table(summary["eval"]))


def _slots(name: str) -> int:
    return max(4, PROTOCOLS[name].max_pellets)


def record_episode(env: Bikkle, policy: Policy, params: BikkleParams, learner: PyTree, key: jax.Array) -> Any:
    """One greedy episode of 200 steps: the states and the rewards on the way to them, leaves [200, ...]."""
    observation, state = env.reset_env(key, params)

    def step(carry, step_key):
        observation, state = carry
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], observation)
        action = policy(learner, batch, step_key, True)[0]
        action = fit_action(action, env.action_space(params))
        observation, state, reward, _, _ = env.step_env(step_key, state, action, params)
        return (observation, state), (state, reward)

    return jax.lax.scan(step, (observation, state), jax.random.split(key, 200))[1]


def results_table(results: dict[str, dict[str, Any]]) -> Table:
    """Mean return and standard error of the policy, beside the original and the scripted controllers."""
    references = controller_returns()
    cell = next(iter(results["record"].values()))
    episodes, seeds = cell["episodes"], len(cell["per_seed"])
    each = f"{episodes:,} episodes a cell" + (f" and seed, {seeds} seeds" if seeds > 1 else "")
    title = f"Return of the greedy policy, {each}"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("protocol", no_wrap=True)
    table.add_column("gaze", no_wrap=True)
    for name in ("PureRL", "orig.", "random", "nearest", "target", "best"):
        table.add_column(name, justify="right", no_wrap=True)
    for protocol, gazes in results.items():
        for number, (gaze, cell) in enumerate(gazes.items()):
            scripted = [f"{script['mean']:.2f}" for script in references[protocol].values()]
            table.add_row(
                "" if number else protocol,
                gaze,
                Text.assemble((f"{cell['mean']:.2f}", "bold"), f" ± {cell['sem']:.2f}"),
                f"{ORIGINAL_RETURNS[gaze]:.2f}" if protocol == "record" else "",
                *([] if number else scripted),
                end_section=number == len(gazes) - 1,
            )
    table.caption = (
        "Scripts: random play; nearest goes to the nearest pink pellet; target knows the target; best weighs "
        "value against distance. The original's figure without gaze is over 100 steps, all others over 200."
    )
    table.caption_justify = "left"
    return table
