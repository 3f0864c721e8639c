"""Alarms: silent in a healthy run, told once, and the same whether a run was stopped in between or not."""

import json
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fake_experiment import build

from purerl.functional.metrics import pack, unpack
from purerl.run import directory
from purerl.view.alarms import Watch, replay
from purerl.view.rules import NOT_FINITE, PAGE, RULES

HEALTHY = {
    "approx_kl": 0.01,
    "clip_fraction": 0.15,
    "explained_variance": 0.8,
    "return_variance": 0.3,
    "entropy": 1.2,
    "gradient_norm": 0.7,
    "saturated_share": 0.2,
    "value_loss": 0.5,
    "policy_loss": -0.01,
    "episode_return": 20.0,
    "learning_rate": 3e-4,
}
NUM_CHUNKS = 30  # a tenth is 3 chunks, but what lasts does so for 5 at least; a third is 10 chunks


def healthy(chunk, name):
    """Every metric moves a little, and the return rises with noise of its own."""
    wobble = np.random.default_rng([chunk, len(name)]).uniform(-0.05, 0.05)
    rise = chunk if name == "episode_return" else 0
    return HEALTHY[name] * (1 + wobble) + rise


def lines(num_seeds=1, faulty_seed=0, **courses):
    """A run of `NUM_CHUNKS` chunks; `courses` are functions of the chunk for the metrics of one seed."""
    run = []
    for chunk in range(1, NUM_CHUNKS + 1):
        metrics = {name: [healthy(chunk, name)] * num_seeds for name in HEALTHY}
        for name, course in courses.items():
            metrics.setdefault(name, [0.0] * num_seeds)[faulty_seed] = course(chunk)
        run.append({"chunk": chunk, "env_steps": 100 * chunk, "failed_seeds": [], "metrics": metrics})
    return run


def told(run, seeds=(0,)):
    """Chunk and sentence of each alarm."""
    return [(each.chunk, each.alarm.sentence) for each in replay(run, seeds, NUM_CHUNKS).told]


def jump(name, at, value):
    return {name: lambda chunk: value if chunk >= at else healthy(chunk, name)}


def test_a_healthy_run_raises_no_alarm():
    assert told(lines()) == []
    assert told(lines(num_seeds=3), seeds=(5, 6, 7)) == []


def test_missing_metrics_and_missing_values_raise_no_alarm():
    empty = [line | {"metrics": {}} for line in lines()]
    assert told(empty) == []
    absent = {name: lambda chunk: None for name in HEALTHY if name != "episode_return"}
    assert told(lines(**absent)) == []


ONE_CHUNK = [
    ("gradient_norm", 1e4, "exploding gradient: norm 1e+04. "),
    ("entropy", -30.0, "collapsed entropy: -30 nat. "),
    ("saturated_share", 0.95, "saturated actions: 95% beyond their bounds. "),
    ("explained_variance", -3.0, "failing critic: explained variance -3.00 of 0.3"),
    ("clip_fraction", 0.8, "too large steps: KL 0.010, 80% clipped. "),
]


@pytest.mark.parametrize(("name", "value", "finding"), ONE_CHUNK)
def test_a_level_is_told_in_the_chunk_that_reaches_it_and_only_once(name, value, finding):
    ((chunk, sentence),) = told(lines(**jump(name, 7, value)))
    assert chunk == 7
    assert sentence.startswith(finding)


def test_a_critic_that_starts_far_off_and_comes_nearer_is_not_told():
    rising = {"explained_variance": lambda chunk: min(-3.0 + 0.5 * chunk, 0.9)}
    assert told(lines(**rising)) == []
    stuck = {"explained_variance": lambda chunk: min(-3.0 + 0.5 * chunk, -1.0)}
    assert [chunk for chunk, _ in told(lines(**stuck))] == [5]


COURSES = [
    # The usual KL is about 0.01: 0.09 is more than 8 times as much; two chunks in a row, the second is 13.
    ({"approx_kl": 0.09}, 12, 13, "exploding KL: 0.090 where 0.010 was usual. "),
    # 30 chunks / 3 = 10 chunks from the 4th to the 13th.
    (
        {"entropy": 1.25, "clip_fraction": 0.0},
        4,
        13,
        "pinned entropy: 1.25 nat for 10 chunks, nothing clipped. ",
    ),
    ({"explained_variance": -0.1}, 4, 13, "idle critic: explained variance at most -0.10 for 10 chunks. "),
    # Five chunks from the 4th to the 8th.
    ({"entropy": 0.001}, 4, 8, "collapsed entropy: 0.001 nat. "),
    ({"gradient_norm": 0.0}, 4, 8, "vanished gradient: norm 0. "),
]


@pytest.mark.parametrize(("values", "is_first", "tells", "finding"), COURSES)
def test_a_fault_that_lasts_is_told_once_when_it_has_lasted(values, is_first, tells, finding):
    courses = {
        key: course for name, value in values.items() for key, course in jump(name, is_first, value).items()
    }
    ((chunk, sentence),) = told(lines(**courses))
    assert (chunk, sentence[: len(finding)]) == (tells, finding)


def test_a_return_that_fell_and_stayed_there_is_told_and_a_dip_is_not():
    dip = lines(episode_return=lambda chunk: 10.0 if 16 <= chunk < 20 else 20.0 + chunk)
    assert told(dip) == []
    # Best 35 in chunk 15, worst 21: half of the way is 7. Five chunks at most at 24 end with chunk 20.
    fall = lines(episode_return=lambda chunk: 20.0 + chunk if chunk < 16 else 24.0)
    ((chunk, sentence),) = told(fall)
    assert chunk == 20
    assert sentence.startswith("fallen return: at most 24 for 5 chunks, 35 before. ")


def test_a_return_that_falls_because_levels_grow_harder_is_not_told():
    fall = {"episode_return": lambda chunk: 20.0 + chunk if chunk < 16 else 24.0}
    harder = lines(**fall, level_hardness=lambda chunk: 0.5 if chunk < 16 else 1.0)
    assert told(harder) == []
    as_hard = lines(**fall, level_hardness=lambda chunk: 1.0)
    assert [chunk for chunk, _ in told(as_hard)] == [20]


def test_a_return_that_never_changes_and_episodes_that_never_end_are_told_after_a_third_of_the_run():
    assert [chunk for chunk, _ in told(lines(episode_return=lambda chunk: 0.0))] == [10]
    # An episode ends every 4 chunks only: the fifth one in chunk 20.
    assert [chunk for chunk, _ in told(lines(episode_return=lambda n: None if n % 4 else 0.0))] == [20]
    ((chunk, sentence),) = told(lines(episode_return=lambda chunk: None))
    assert (chunk, sentence[:42]) == (10, "no episodes: none has ended in 10 chunks. ")


def test_a_policy_may_stand_still_where_the_learning_rate_has_decayed():
    decayed = jump("entropy", 4, 1.25) | jump("clip_fraction", 4, 0.0) | jump("learning_rate", 4, 1e-6)
    assert told(lines(**decayed)) == []


def test_a_quiet_policy_in_the_second_half_of_a_run_has_converged():
    assert told(lines(**jump("entropy", 16, 0.001))) == []


def test_choices_that_are_made_in_the_second_half_of_a_run_have_no_entropy_to_move():
    made = jump("entropy", 16, 0.001) | jump("clip_fraction", 16, 0.0)
    assert told(lines(**made)) == []
    held = jump("entropy", 16, 0.1) | jump("clip_fraction", 16, 0.0)
    assert [sentence.partition(":")[0] for _, sentence in told(lines(**held))] == ["pinned entropy"]


def test_an_alarm_that_comes_back_after_a_while_is_told_again():
    norms = {3: 1e4, 6: 1e4, 20: 1e4}  # 3 chunks later is the same alarm, 14 chunks later another one
    run = lines(gradient_norm=lambda chunk: norms.get(chunk, 0.7))
    assert [chunk for chunk, _ in told(run)] == [3, 20]


def ends(run):
    """Steps at which each alarm was told, and at which it ended."""
    return [(each.env_steps, each.ended) for each in replay(run, (0,), NUM_CHUNKS).told]


def test_an_alarm_ends_where_its_fault_was_gone_for_a_while_and_that_is_told_once():
    # 100 steps a chunk: heard from chunk 7 to 9, quiet from 10; five quiet chunks are over with chunk 14.
    run = lines(gradient_norm=lambda chunk: 1e4 if 7 <= chunk <= 9 else 0.7)
    assert ends(run) == [(700, 1000)]
    watch = Watch((0,), NUM_CHUNKS)
    heard = [watch.add(line) for line in run]
    assert [number for number, each in enumerate(heard, 1) if each.over] == [14]
    assert [told.alarm.name for told in heard[13].over] == ["exploding gradient"]


def test_an_alarm_whose_fault_is_there_to_the_last_stands_and_one_that_is_gone_in_the_last_chunk_has_ended():
    assert ends(lines(**jump("gradient_norm", 7, 1e4))) == [(700, None)]
    assert ends(lines(gradient_norm=lambda chunk: 1e4 if 28 <= chunk <= 29 else 0.7)) == [(2800, 3000)]
    pause = {3, 4, 6, 8}  # pauses shorter than a while are part of one alarm
    assert ends(lines(gradient_norm=lambda chunk: 1e4 if chunk in pause else 0.7)) == [(300, 900)]


def test_an_alarm_of_a_failed_seed_never_ends():
    run = lines(num_seeds=2)
    for line in run[6:]:
        line["failed_seeds"] = [1]
    (told_once,) = replay(run, (0, 1), NUM_CHUNKS).told
    assert (told_once.chunk, told_once.ended) == (7, None)


def test_a_critic_is_judged_by_its_error_against_the_scale_of_returns_where_they_hardly_differ():
    # A solved task: returns of 5 that differ by 0.002 (variance 4e-6), and a critic that errs by 0.005, six
    # times the variance (explained variance 1 - 25 / 4 = -5.25): a thousandth of the return is no fault.
    solved = jump("explained_variance", 4, -5.25) | jump("return_variance", 4, 4e-6)
    assert told(lines(**solved, return_mean=lambda chunk: 5.0)) == []
    # The same critic errs by sqrt(6.25 * 0.16) = 1 where returns of 5 differ by 0.4: a fifth is one.
    wrong = jump("explained_variance", 4, -5.25) | jump("return_variance", 4, 0.16)
    ((chunk, sentence),) = told(lines(**wrong, return_mean=lambda chunk: 5.0))
    assert (chunk, sentence.partition(":")[0]) == (4, "failing critic")
    # A critic no better than a constant: errors of 0.4 are a hundredth of returns of 40, and two fifths of 1.
    idle = jump("explained_variance", 4, -0.1) | jump("return_variance", 4, 0.16)
    assert told(lines(**idle, return_mean=lambda chunk: 40.0)) == []
    assert [chunk for chunk, _ in told(lines(**idle, return_mean=lambda chunk: 1.0))] == [13]


def test_returns_that_differed_once_are_a_scale_too_where_their_mean_is_zero():
    # Variance 0.3 early, 1e-4 later, mean 0: an error of sqrt(3 * 1e-4) = 0.017 against sqrt(0.3) = 0.55.
    settled = jump("explained_variance", 9, -2.0) | jump("return_variance", 9, 1e-4)
    assert told(lines(**settled, return_mean=lambda chunk: 0.0)) == []
    # Errors of sqrt(3 * 0.01) = 0.17 are a third of it.
    failing = jump("explained_variance", 9, -2.0) | jump("return_variance", 9, 0.01)
    assert [chunk for chunk, _ in told(lines(**failing, return_mean=lambda chunk: 0.0))] == [9]


def test_an_alarm_names_the_seeds_that_it_concerns():
    run = lines(num_seeds=3, faulty_seed=1, **jump("gradient_norm", 7, 1e4))
    assert told(run, seeds=(5, 6, 7))[0][1].startswith("exploding gradient of seed 6: norm 1e+04")
    for line in run:
        line["metrics"]["gradient_norm"][2] = line["metrics"]["gradient_norm"][1]
    assert told(run, seeds=(5, 6, 7))[0][1].startswith("exploding gradient of seed 6 and 1 more: norm 1e+04")


def test_a_failed_seed_is_told_once_and_raises_no_other_alarm():
    run = lines(num_seeds=2)
    for line in run[6:]:
        line["failed_seeds"] = [1]
        line["metrics"] = {name: [values[0], None] for name, values in line["metrics"].items()}
    assert told(run, seeds=(0, 1)) == [
        (7, "seed 1 is not finite and was left behind. More: docs/alarms.md#not-finite")
    ]


def test_alarms_are_the_same_wherever_the_run_was_stopped():
    courses = jump("entropy", 4, 1.25) | jump("clip_fraction", 4, 0.0) | jump("gradient_norm", 9, 1e4)
    run = lines(**courses)
    whole = Watch((0,), NUM_CHUNKS)
    heard = [whole.add(line) for line in run]
    for stop in (2, 8, 12, 20):
        resumed = replay(json.loads(json.dumps(run[:stop])), (0,), NUM_CHUNKS)
        assert [resumed.add(line) for line in run[stop:]] == heard[stop:]
        assert resumed.told == whole.told


def test_returns_that_are_all_alike_are_a_dead_agent_unless_they_are_good():
    alike = jump("return_variance", 4, 1e-6)  # of 0.3: less than a ten thousandth
    mostly_bad = lines(**alike, episode_return=lambda chunk: 21.0 if chunk % 3 == 0 else 20.0)
    ((chunk, sentence),) = told(mostly_bad)
    assert chunk == 8
    assert sentence.startswith("dead agent: variance of the return 1e-06 for 5 chunks. ")
    assert told(lines(**alike)) == []  # the return rises to its best meanwhile


def test_a_policy_that_moves_far_and_narrows_all_the_time_has_too_high_a_learning_rate():
    narrower = {"entropy": lambda chunk: 2.0 - 0.03 * chunk}
    ((chunk, sentence),) = told(lines(**narrower, approx_kl=lambda chunk: 0.06))
    assert chunk == 10  # five chunks against the five before
    assert sentence.startswith("too high learning rate: KL 0.060, entropy fell by 0.15 nat. Lower")
    assert told(lines(**narrower)) == []
    assert told(lines(approx_kl=lambda chunk: 0.06)) == []


def test_a_critic_does_not_fail_where_there_is_nothing_to_explain():
    nothing = {"return_variance": lambda chunk: 0.0}
    assert told(lines(**nothing, **jump("explained_variance", 4, -3.0))) == []


def test_a_gradient_of_action_values_is_long_in_units_of_returns():
    # Returns of at most 50 + 5 % allow 100 times as much, about 5,000; where a policy is clipped, 100.
    def values_only(run):
        for line in run:
            del line["metrics"]["clip_fraction"], line["metrics"]["approx_kl"]
        return run

    long, longer = jump("gradient_norm", 7, 3e3), jump("gradient_norm", 7, 3e4)
    assert told(values_only(lines(**long, episode_return=lambda chunk: 50.0 + 0.01 * chunk))) == []
    ((chunk, sentence),) = told(
        values_only(lines(**longer, episode_return=lambda chunk: 50.0 + 0.01 * chunk))
    )
    assert (chunk, sentence.partition(":")[0]) == (7, "exploding gradient")
    assert [chunk for chunk, _ in told(lines(**long))] == [7]


def test_an_exploding_gradient_names_its_layer():
    layers = {"gradient_norm/trunk": lambda chunk: 3.0, "gradient_norm/head/out": lambda chunk: 9e3}
    ((_, sentence),) = told(lines(**jump("gradient_norm", 7, 1e4), **layers))
    assert sentence.startswith("exploding gradient: norm 1e+04, most of it in head/out. Lower")
    assert sentence.endswith("More: docs/alarms.md#exploding-gradient")


def test_every_fault_has_a_section_that_says_what_it_means_what_to_look_at_and_what_to_try():
    page = (Path(__file__).parents[2] / PAGE).read_text()
    sections = {text.partition("\n")[0]: text for text in page.split("\n## ")[1:]}
    assert list(sections) == [*(rule.name for rule in RULES), NOT_FINITE]
    for name, text in sections.items():
        assert [text.count(f"\n**{part}:**") for part in ("Means", "Look at", "Try")] == [1, 1, 1], name


def test_every_fault_has_a_name_of_its_own_and_one_sentence_of_advice():
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.advice.endswith(".") and rule.advice[:-1].count(".") == 0


def test_alarms_are_printed_when_they_begin_and_kept_in_the_summary_of_a_resumed_run_too(command, tmp_path):
    def build_hot(config, stop_at=None):
        """A fake experiment whose gradient explodes in the 6th chunk, and in which Ctrl-C is pressed."""
        experiment, calls = build(config), []

        def build_program(**sizes):
            program = experiment.build_program(**sizes)
            run_chunk = program.chunk

            def chunk(state):
                calls.append(None)
                if len(calls) == stop_at:
                    signal.raise_signal(signal.SIGINT)
                state, metrics = run_chunk(state)
                hot = (state.num_updates >= 12)[0] * 1e6
                means = unpack(metrics)
                norm = means["gradient_norm"]
                return state, pack(means | {"gradient_norm": norm.replace(total=norm.total + hot)})

            program.chunk = chunk
            return program

        return experiment._replace(build_program=build_program)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    code, output, _ = command("--run-dir", whole, build=build_hot)
    assert code == 0
    # Two updates a chunk, four environments: 48 steps after 6 chunks.
    assert output.count("! after 48 steps: exploding gradient: norm 5e+05. Lower the learning rate") == 1
    assert command("--run-dir", stopped, build=partial(build_hot, stop_at=9))[0] == 130
    code, output, _ = command("--resume", stopped, build=build_hot)
    assert (code, output.count("! after")) == (0, 0)
    summaries = [json.loads((run_dir / directory.SUMMARY_FILE).read_text()) for run_dir in (whole, stopped)]
    assert summaries[0]["alarms"] == summaries[1]["alarms"]
    assert [told["env_steps"] for told in summaries[0]["alarms"]] == [48]
