"""The picture of a run's diagnostics: panels that have numbers, and alarms where they were told."""

import imageio.v3 as imageio
import numpy as np
import pytest

from purerl.view import diagnosis
from purerl.view.diagnosis import PANELS, plot_diagnostics

ALARM = {"env_steps": 300, "alarm": "exploding gradient: norm 1e+04. Lower the learning rate."}


def lines_of(metrics, num_chunks=5, num_seeds=2):
    random = np.random.default_rng(0)
    return [
        {
            "env_steps": 100 * (chunk + 1),
            "metrics": {name: list(random.random(num_seeds)) for name in metrics},
        }
        for chunk in range(num_chunks)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """Titles of the panels that are drawn, and the metrics of those where an alarm is marked."""
    found = {"panels": [], "marked": []}
    draw, mark = diagnosis._draw, diagnosis._mark

    def counted_draw(axes, panel, lines, steps):
        found["panels"].append(panel.metric)
        draw(axes, panel, lines, steps)

    def counted_mark(axes, metric, alarms):
        before = len(axes.texts)
        mark(axes, metric, alarms)
        found["marked"] += [metric] * (len(axes.texts) - before)

    monkeypatch.setattr(diagnosis, "_draw", counted_draw)
    monkeypatch.setattr(diagnosis, "_mark", counted_mark)
    return found


def test_all_panels_are_drawn_and_an_alarm_is_marked_where_it_looked(drawn, tmp_path):
    every = [panel.metric for panels in PANELS.values() for panel in panels]
    told = [name + "actor_encoder/SummaryAttentionBlock_0/query" * name.endswith("/") for name in every]
    plot_diagnostics(tmp_path / "all.png", lines_of(told), [ALARM])
    assert sorted(drawn["panels"]) == sorted(every)
    assert sorted(drawn["marked"]) == ["episode_return", "gradient_norm", "gradient_norm/"]
    assert imageio.imread(tmp_path / "all.png").std() > 5


def test_what_a_run_lacks_is_left_out_and_a_seed_without_values_is_no_fault(drawn, tmp_path):
    lines = lines_of(["entropy", "approx_kl"])
    for line in lines:
        line["metrics"]["entropy"] = [None, None]
        line["metrics"]["approx_kl"][1] = None
    plot_diagnostics(tmp_path / "few.png", lines)
    assert drawn == {"panels": ["approx_kl", "entropy"], "marked": []}
    plot_diagnostics(tmp_path / "none.png", [])
    assert not (tmp_path / "none.png").exists()
