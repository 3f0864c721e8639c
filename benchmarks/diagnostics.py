"""What diagnostics cost, what each training aid does, and questions answered by small runs.

    python -m benchmarks.diagnostics --only cost
    python -m benchmarks.diagnostics --only aids questions

Runs are on the Bikkle arena with four pellets, five seeds each, all of one length. A row is the interquartile
mean over seeds of the return in the last fifth of training, with its 95 % bootstrap interval; figures show
the way there. Figures go to `docs/images/`, numbers into `docs/questions.md`.
"""

import dataclasses
import operator
import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from benchmarks.rows import ROOT, Measure, Row, check_names, take_each
from envs.experiments.bikkle import ArenaOptions, make_arena
from purerl.algorithms.grpo import GRPOConfig, make_grpo
from purerl.algorithms.ppo import make_ppo
from purerl.compile.program import Program, build_program, usable_devices
from purerl.functional.metrics import pack
from purerl.functional.statistics import bootstrap_interval, interquartile_mean
from purerl.networks import NetworkConfig, SetNetworkName, make_actor_critic
from purerl.ranges import Count, Runs
from purerl.run import arguments, cli
from purerl.types import Algorithm, AxisName
from purerl.view.figures import save
from purerl.view.plots import draw_band, style_of_metric

sys.path.insert(0, str(ROOT / "experiments"))
import ppo_bikkle

COLOURS = ("#30638e", "#d1495b", "#3a9d8f", "#edae49", "#66748a", "#8a5fa8")
NUM_POINTS = 20
DEFAULTS = ppo_bikkle.Config()


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to train: what differs from the default command.

    Attributes:
        name: in the figure and in the table.
        ppo: of the learner.
        net: of the network.
        network: its kind.
        clamp: bounds of log_std, as a faulty network would have them; None where there are none.
        group_size: environments that are compared with each other (GRPO); 0 for PPO and its critic.
    """

    name: str
    ppo: dict[str, Any] = dataclasses.field(default_factory=dict)
    net: dict[str, Any] = dataclasses.field(default_factory=dict)
    network: SetNetworkName = "attention"
    clamp: tuple[float, float] | None = None
    group_size: int = 0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Variants in one figure.

    Attributes:
        name: of the measure and its figure.
        variants: what is compared.
        metric: what the figure shows beside the return.
        total_steps: environment steps of each seed: enough to tell variants apart.
    """

    name: str
    variants: tuple[Variant, ...]
    metric: str = "entropy"
    total_steps: int = 400_000


TRANSFORMER = {"num_self_layers": 2, "num_summary_layers": 0}
SEPARATE = {"shared_encoder": False}
AIDS = (
    Comparison(
        "kl_adaptive",
        (
            Variant("schedule, 2e-3"),
            Variant("schedule, 1e-2", {"learning_rate": 1e-2}),
            Variant("KL 0.01, from 2e-3", {"kl_target": 0.01}),
            Variant("KL 0.01, from 1e-2", {"kl_target": 0.01, "learning_rate": 1e-2}),
        ),
        "learning_rate",
    ),
    Comparison("staggered_resets", (Variant("staggered"), Variant("together", {"stagger": False}))),
    Comparison(
        "precision",
        (Variant("float32"), Variant("bfloat16", {"precision": "bfloat16"})),
        "approx_kl",
    ),
    Comparison(
        "accumulation",
        (Variant("parts of 128"), Variant("whole minibatches", {"microbatch_size": 0})),
        "gradient_norm",
    ),
    Comparison(
        "grpo",
        (
            Variant("critic, 200 steps", {"num_steps": 200, "num_envs": 128}),
            Variant("groups of 16, 200 steps", {"num_steps": 200, "num_envs": 128}, group_size=16),
        ),
        "return_variance",
    ),
)
QUESTIONS = (
    Comparison(
        "where_layer_norm_goes",
        tuple(
            Variant(
                f"{where}, {layers} layers",
                net=TRANSFORMER | {"normalization": where, "num_self_layers": layers},
            )
            for where in ("pre", "post", "none")
            for layers in (2, 4)
        ),
        "gradient_norm",
    ),
    Comparison(
        "how_to_start_attention",
        tuple(
            Variant(start, net=TRANSFORMER | {"residual_start": start, "num_self_layers": 4})
            for start in ("zero", "depth", "one")
        ),
        "approx_kl",
    ),
    Comparison(
        "why_entropy_was_pinned",
        (
            Variant("free"),
            Variant("free, no bonus", {"entropy_coefficient": 0.0}),
            Variant("clamped at log_std >= -0.5", {"entropy_coefficient": 0.0}, clamp=(-0.5, 2.0)),
            Variant("clamped at log_std <= 0", clamp=(-2.0, 0.0)),
        ),
        total_steps=2_000_000,
    ),
    Comparison(
        "why_transformer_critics_are_hard",
        (
            Variant("shared transformer", net=TRANSFORMER),
            Variant("transformers of their own", net=TRANSFORMER | SEPARATE),
            Variant("deep sets of their own", net=SEPARATE, network="deepsets"),
            Variant("shared summary attention"),
        ),
        "explained_variance",
    ),
    Comparison(
        "what_heads_do",
        tuple(
            Variant("1 head" if heads == 1 else f"{heads} heads", net=TRANSFORMER | {"num_heads": heads})
            for heads in (1, 2, 4, 8, 16)
        ),
        "explained_variance",
    ),
)
"""Each is a question of `docs/questions.md`."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure."""

    only: tuple[str, ...] = ("cost", "aids", "questions")
    """Groups of measures, or names of comparisons."""
    num_seeds: Runs = 5
    """Seeds of each variant."""
    total_steps: Count | None = None
    """Environment steps of each seed; by default what each comparison needs."""
    out: Path = ROOT / "benchmarks" / "results" / "diagnostics.json"
    """Where the rows are written; rows of other names in it stay."""
    page: Path = ROOT / "docs" / "questions.md"
    """Page whose table is made from these rows."""
    pictures: Path = ROOT / "docs" / "images"
    """Where the figures go."""


def program_of(variant: Variant, num_seeds: int, total_steps: int, points: int) -> Program:
    """The compiled training of a variant."""
    env, params = make_arena("continuing_4", ArenaOptions(), DEFAULTS.ppo.gamma)
    config: Any = DEFAULTS.ppo.replace(env_params=params, **variant.ppo)
    net: NetworkConfig = DEFAULTS.net.replace(**variant.net)
    network = make_actor_critic(env, params, variant.network, net)
    make = partial(make_ppo, env, network)
    if variant.group_size:
        shared = {field.name for field in dataclasses.fields(GRPOConfig)} - {"group_size"}
        options = {name: getattr(config, name) for name in shared}
        config = GRPOConfig(group_size=variant.group_size, **options)
        make = partial(make_grpo, env, network)
    if variant.clamp is not None:
        make = partial(clamped, make, variant.clamp)
    devices = usable_devices(make(), config)
    return build_program(
        make,
        config,
        seed=0,
        num_seeds=num_seeds,
        total_steps=total_steps,
        num_devices=devices,
        target_chunks=points,
    )


def clamped(make: Callable[[AxisName], Algorithm], bounds: tuple[float, float], axis: AxisName) -> Algorithm:
    """An algorithm whose deviation is put back between bounds after each update, as a clamp would hold it."""
    algorithm = make(axis)

    def update(state, config):
        state, metrics = algorithm.update(state, config)
        params = dict(state.learner.params["params"])
        params["log_std"] = params["log_std"].clip(*bounds)
        return state.replace(learner=state.learner.replace(params={"params": params})), metrics

    return algorithm._replace(update=update)


def courses(program: Program) -> dict[str, np.ndarray]:
    """Each metric over the chunks of a run, [C, S]."""
    state, found = program.init(), []
    for _ in range(program.num_chunks):
        state, metrics = program.chunk(state)
        found.append(jax.device_get(metrics))
    with np.errstate(invalid="ignore"):
        means = np.stack([each.values[..., 0] / each.values[..., 1] for each in found])  # [C, S, K]
    return {name: means[..., place] for place, name in enumerate(found[0].names)}


def compare(comparison: Comparison, options: Options) -> list[Row]:
    """Trains all variants, draws them, and tells what they reached."""
    command = f"python -m benchmarks.diagnostics --only {comparison.name}"
    figure = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots(1, 2)
    rows, total_steps = [], options.total_steps or comparison.total_steps
    for title, panel in zip(("episode_return", comparison.metric), axes, strict=True):
        style_of_metric(panel, title)
    for variant, color in zip(comparison.variants, COLOURS, strict=False):
        program = program_of(variant, options.num_seeds, total_steps, NUM_POINTS)
        found = courses(program)
        steps = program.steps_per_chunk * np.arange(1, program.num_chunks + 1)
        draw_band(axes[0], steps, found["episode_return"], color, label=variant.name)
        if comparison.metric in found:
            draw_band(axes[1], steps, found[comparison.metric], color)
        last = np.nanmean(found["episode_return"][-program.num_chunks // 5 :], axis=0)
        name = f"{comparison.name}: {variant.name}"
        value = float(interquartile_mean(last))
        rows.append(Row(name, value, "return", command=command, interval=bootstrap_interval(last)))
    axes[0].legend(fontsize=8, frameon=False)
    options.pictures.mkdir(parents=True, exist_ok=True)
    picture = options.pictures / f"{comparison.name}.png"
    save(figure, picture)
    show(options.page, comparison.name, picture)
    return rows


def show(page: Path, name: str, picture: Path) -> None:
    """Puts a figure between the markers that a page has for it, if it has them."""
    start, end = f"<!-- figure {name} -->", f"<!-- /figure {name} -->"
    before, found, rest = page.read_text().partition(start)
    link = os.path.relpath(picture, page.parent)
    if found:
        after = rest.partition(end)[2]
        page.write_text(f"{before}{start}\n![{name.replace('_', ' ')}]({link})\n{end}{after}")


def cost(num_turns: int = 30) -> list[Row]:
    """Time of a chunk with all metrics and diagnostics over that without any, by turns in one process."""
    command = "python -m benchmarks.diagnostics --only cost"
    env, params = make_arena("mixture", ArenaOptions(), DEFAULTS.ppo.gamma)
    config = DEFAULTS.ppo.replace(env_params=params)
    network = make_actor_critic(env, params, DEFAULTS.network, DEFAULTS.net)
    make = partial(make_ppo, env, network)
    makers: dict[str, Callable[[AxisName], Algorithm]] = {
        "all": make,
        "no diagnostics": lambda axis: make(axis)._replace(diagnose=None),
        "return alone": lambda axis: returns_alone(make(axis)),
    }
    devices = usable_devices(make(), config)
    programs = {
        name: build_program(
            each,
            config,
            seed=0,
            num_seeds=1,
            total_steps=DEFAULTS.total_steps,
            num_devices=devices,
        )
        for name, each in makers.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    states = {
        name: jax.block_until_ready(program.chunk(program.init()))[0] for name, program in programs.items()
    }
    for _ in range(num_turns):
        for name, program in random.sample(sorted(programs.items()), len(programs)):
            started = time.perf_counter()
            states[name], _ = jax.block_until_ready(program.chunk(states[name]))
            seconds[name].append(time.perf_counter() - started)

    def extra(name: str) -> list[float]:
        """How much longer each chunk takes than that of the same turn, in percent."""
        return [100 * (ratio - 1) for ratio in map(operator.truediv, seconds[name], seconds["return alone"])]

    return [
        Row.of(
            f"time of a chunk of the default command, {what}, over that with the return alone",
            extra(name),
            "%",
            floor=3.0,
            aim=1.0,
            command=command,
            lower_is_better=True,
        )
        for name, what in (("all", "all metrics and diagnostics"), ("no diagnostics", "all metrics"))
    ]


def returns_alone(algorithm: Algorithm) -> Algorithm:
    """The algorithm without any metric but the return: what computes the others, the compiler takes out."""

    def update(state, config):
        state, metrics = algorithm.update(state, config)
        return state, pack({"episode_return": metrics["episode_return"]})

    return algorithm._replace(update=update, diagnose=None)


def measures(options: Options) -> dict[str, Measure]:
    """The measures by name, as the options want them."""
    return {"cost": cost, **{each.name: partial(compare, each, options) for each in (*AIDS, *QUESTIONS)}}


MEASURES = measures(Options())


def main() -> None:
    """Takes the measures that are asked for, one after another, and writes after each."""
    options = arguments.parse_alone(Options, __doc__ or "")
    groups = {"aids": AIDS, "questions": QUESTIONS}
    known = measures(options)
    names = [
        name
        for asked in options.only
        for name in ([each.name for each in groups[asked]] if asked in groups else [asked])
    ]
    check_names(names, [*groups, *known])
    take_each({name: known[name] for name in names}, options.out, options.page)


if __name__ == "__main__":
    cli.answer(main)
