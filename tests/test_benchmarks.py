"""Benchmarks: every module lists its measures and answers; a comparison finds what is slower."""

import json
import re
import runpy
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import beside, comparison, stepping
from benchmarks.alarms import alarms_by_seed
from benchmarks.operations import count
from benchmarks.rows import Row, rates, seconds_by_turns, take, write_page


def as_rows(*rows):
    return {row.name: json.loads(json.dumps(row.__dict__)) for row in rows}


def verdicts(old, new):
    return {change.name: change.verdict for change in comparison.compare(old, new)}


def timings(random, mean, count=9, noise=0.04):
    """Times with noise, one in ten of them disturbed."""
    disturbed = 1.0 + 0.5 * (random.random(count) < 0.1)
    return (mean * disturbed * np.exp(noise * random.standard_normal(count))).tolist()


@pytest.mark.parametrize("repeat", range(10))
def test_a_planted_slowdown_is_found_and_nothing_else(repeat):
    random = np.random.default_rng(repeat)
    names = [f"program {number}" for number in range(20)]

    def measured(factors):
        return as_rows(
            *(
                Row.of(name, timings(random, factors.get(name, 1.0)), "s", lower_is_better=True)
                for name in names
            )
        )

    found = verdicts(measured({}), measured({"program 3": 1.3, "program 5": 0.7}))
    assert found.pop("program 3") == "worse"
    assert found.pop("program 5") == "better"
    assert set(found.values()) == {"same"}


def test_a_real_function_is_as_fast_as_itself_and_faster_than_four_of_it():
    """On the clock of this thread: what else runs on the machine shows in wall times."""

    def work(size):
        return sum(range(size))

    calls = {"a": lambda: work(20_000), "b": lambda: work(20_000), "slow": lambda: work(80_000)}
    for _ in range(10):
        seconds = seconds_by_turns(calls, 15, time.thread_time)
        once, again, slow = (
            as_rows(Row.of("work", rates(1.0, seconds[name]), "calls/s")) for name in ("a", "b", "slow")
        )
        assert verdicts(once, again) == {"work": "same"}
        assert verdicts(once, slow) == {"work": "worse"}
        assert verdicts(slow, once) == {"work": "better"}


def test_single_values_need_a_wider_margin_and_say_so():
    old = as_rows(Row("wall", 100.0, "s", lower_is_better=True), Row("return", -100.0, "return"))
    new = as_rows(Row("wall", 120.0, "s", lower_is_better=True), Row("return", -130.0, "return"))
    wall, result = sorted(comparison.compare(old, new), key=lambda change: change.unit, reverse=True)
    assert (wall.verdict, wall.noise, wall.limit) == ("same", "unknown", comparison.UNKNOWN_MARGIN)
    assert result.verdict == "worse"


def test_intervals_that_meet_are_no_change():
    old = as_rows(Row("return", 10.0, "return", interval=(7.0, 12.0)))
    assert verdicts(old, as_rows(Row("return", 6.0, "return", interval=(3.0, 8.0)))) == {"return": "same"}
    assert verdicts(old, as_rows(Row("return", 6.0, "return", interval=(5.0, 6.9)))) == {"return": "worse"}


def test_alarms_are_counted_for_each_seed_as_in_a_run_of_its_own():
    # Seed 8's gradient explodes from chunk 7 to the end, and seed 9 has failed in chunk 20.
    lines = [
        {
            "chunk": chunk,
            "env_steps": 100 * chunk,
            "failed_seeds": [9] if chunk >= 20 else [],
            "metrics": {"gradient_norm": [1.0, 1e4 if chunk >= 7 else 1.0, 1.0]},
        }
        for chunk in range(1, 31)
    ]
    found = alarms_by_seed(lines, (7, 8, 9), 30)
    assert [[(told.chunk, told.ended) for told in seed] for seed in found] == [[], [(7, None)], [(20, None)]]


def test_every_module_lists_its_measures_with_a_line_for_each():
    modules = command.modules()
    assert {"bikkle", "maze", "dqn", "sac", "ppo"} <= set(modules)
    for module in modules:
        measures = command.measures_of(module)
        assert measures
        assert all(command.describe(measure) for measure in measures.values()), module
    assert command.select(command.GPU)


@pytest.mark.parametrize("module", command.modules())
def test_every_module_can_be_asked_for_help(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, f"benchmarks.{module}", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"benchmarks.{module}", run_name="__main__")
    assert stop.value.code == 0
    assert "--only" in capsys.readouterr().out


def plant_peer(room, script):
    """An environment that is this one, with a script of a peer."""
    python = room / "abacus-venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (room / "run.py").write_text(script)


def test_a_peer_runs_by_turns_with_ours_and_without_our_flags(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "PEERS", tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    plant_peer(
        tmp_path,
        "import json, os, sys\n"
        "assert os.environ['XLA_FLAGS'] == sys.argv[1] and 'JAX_PLATFORMS' not in os.environ\n"
        "print('a library talks')\n"
        "print(json.dumps({'steps_per_second': [1.0, 3.0]}))\n",
    )
    turns = []

    def ours():
        turns.append("ours")
        return {"steps_per_second": [8.0]}

    def peer():
        turns.append("peer")
        return beside.run_peer("abacus", "run.py", beside.SCHEDULER)

    found = beside.by_turns({"ours": ours, "peer": peer}, turns=2)
    assert turns == ["ours", "peer", "ours", "peer"]
    assert found["peer"] == {"steps_per_second": [1.0, 3.0, 1.0, 3.0]}
    samples = [each["steps_per_second"] for each in found.values()]
    row = beside.against("abacus", *samples, 5.0, (1.5, 3.0), "command")
    # 8 of ours over the median of 1, 3, 1, 3
    assert (row.value, row.baseline, row.ratio, row.floor, row.aim) == (8.0, 2.0, 4.0, 3.0, 6.0)
    assert not row.recorded


def test_a_peer_that_is_missing_leaves_a_recorded_baseline_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "PEERS", tmp_path)
    assert beside.run_peer("abacus", "run.py") == {}
    row = beside.against("abacus", [8.0], [], 4.0, (1.5, 3.0), "command")
    assert row.recorded and row.ratio == 2.0
    machine = {"machine": {"cpu": "abacus"}} | dict.fromkeys(("device", "python", "jax", "jaxlib"), "none")
    results, page = tmp_path / "tiny.json", tmp_path / "page.md"
    rows = [vars(row) | {"ratio": row.ratio, "machine": machine}]
    rows.append({name: value for name, value in rows[0].items() if name != "recorded"})  # an older file
    results.write_text(json.dumps({"rows": rows}))
    page.write_text("<!-- tiny --><!-- /tiny -->")
    write_page(page, results)
    assert page.read_text().count("| 4 (recorded) |") == page.read_text().count("| 4 |") == 1


def test_stepping_is_compared_with_what_was_recorded_where_no_peer_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "PEERS", tmp_path)
    monkeypatch.setattr(stepping, "NUM_ENVS", 8)
    monkeypatch.setattr(stepping, "NUM_ROLLOUTS", 2)
    rows = {row.name: row for measure in stepping.MEASURES.values() for row in measure()}
    assert {name.rpartition(" ")[2] for name in rows} == set(stepping.RECORDED)
    for name, row in rows.items():
        assert row.recorded and row.baseline == stepping.RECORDED[name.rpartition(" ")[2]]
        assert min(row.samples) > 0


def test_every_peer_has_its_pins_and_no_index():
    files = list(beside.PEERS.glob("*.txt"))
    peers = {"rejax", "stable-baselines3", "sbx", "gymnax", "jaxued", "navix", "xminigrid"}
    assert {file.stem for file in files} == peers
    for file in files:
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert lines and all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in lines), file


def test_a_measure_leaves_rows_that_can_be_compared(tmp_path, monkeypatch, capsys):
    def tiny():
        """Sleeps."""
        seconds = seconds_by_turns({"sleep": lambda: time.sleep(0.001)}, 3)["sleep"]
        return [Row.of("sleep", seconds, "s", lower_is_better=True), Row("answer", 42.0, "")]

    monkeypatch.setattr(
        "benchmarks.rows.machine",
        lambda: (
            {"machine": {"cpu": "abacus"}, "matmul_gflops": 1.0}
            | dict.fromkeys(("device", "python", "jax", "jaxlib"), "none")
        ),
    )
    page, out = tmp_path / "page.md", tmp_path / "tiny.json"
    page.write_text("before\n<!-- tiny -->\n<!-- /tiny -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["tiny", "--out", str(out), "--page", str(page)])
    with pytest.raises(SystemExit) as stop:
        take("tiny", {"tiny": tiny}, "Tiny.")
    assert stop.value.code == 0
    rows = comparison.read_rows(out)
    assert rows["sleep"]["measure"] == "tiny" and rows["sleep"]["seconds"] > 0.003
    assert len(rows["sleep"]["samples"]) == 3 and rows["sleep"]["value"] >= 0.001
    assert "| sleep |" in page.read_text()

    slow = tmp_path / "slow.json"
    saved = json.loads(out.read_text())
    saved["rows"][0] |= {"value": 1.0, "samples": [1.0, 1.0, 1.0]}
    slow.write_text(json.dumps(saved))
    for new, code in ((out, 0), (slow, 1)):
        monkeypatch.setattr(sys, "argv", ["benchmarks", "compare", str(out), str(new)])
        with pytest.raises(SystemExit) as stop:
            command.cli.answer(command._main)
        assert stop.value.code == code
    assert "1 worse, 0 better, 1 the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "nope"), "there is no benchmark 'nope'"),
        (("run", "maze.nope"), "maze has no measure 'nope'; it has stepping"),
        (("run",), "there is nothing to run"),
        (("compare", "nowhere.json", "nowhere.json"), "nowhere.json is not a file of results"),
    ],
)
def test_wrong_requests_get_one_line(arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as stop:
        command.cli.answer(command._main)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_operations_count_each_turn_of_a_loop_and_the_dearest_branch():
    def loop(x):
        def turn(x, _):
            return jnp.tanh(x @ x), None

        return jax.lax.scan(turn, x, None, length=7)[0].sum()

    square = jnp.ones((8, 8))
    cost = count(jax.jit(loop), square)
    assert cost.products == 7 * 2 * 8**3
    assert cost.others == 7 * 8 * 8 + 8 * 8  # tanh, and the sum
    assert cost.bytes == 4 * (7 * 3 * 8 * 8 + 8 * 8 + 1)
    branches = (lambda x: x, lambda x: x @ x @ x)
    assert count(lambda x: jax.lax.cond(x.sum() > 0, *branches, x), square).products == 2 * 2 * 8**3
    picture, kernel = jnp.ones((2, 3, 10, 10)), jnp.ones((5, 3, 3, 3))
    convolved = count(lambda x, k: jax.lax.conv(x, k, (1, 1), "VALID"), picture, kernel)
    assert convolved.products == 2 * (2 * 5 * 8 * 8) * (3 * 3 * 3)
    assert count(lambda x: x[jnp.array([1, 2])], square).bytes >= 2 * 4 * 16
