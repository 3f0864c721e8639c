"""What a person sees: alarms, the progress display, services, curves."""

import io

import numpy as np
import pytest
from rich.console import Console

from purerl.view import plots, progress, records, sinks

HEALTHY = {
    "approx_kl": 0.01,
    "clip_fraction": 0.15,
    "explained_variance": 0.8,
    "entropy": 1.2,
    "gradient_norm": 0.7,
    "saturated_share": 0.2,
    "value_loss": 0.5,
    "policy_loss": -0.01,
    "episode_return": 20.0,
    "episode_length": 200.0,
    "learning_rate": 3e-4,
}


def statuses():
    for step in range(1, 101):
        hot = ["too hot"] if step in (49, 50) else []
        news = ["too hot: 99 degrees. Open a window."] if step == 49 else []
        yield progress.Status(step * 1000, 2.5e6, (100 - step) * 61.0, 1.5, hot, news)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_shows_steps_speed_eta_return_and_alarms(terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with progress.display(console, total_steps=100_000, env_steps=0, label="bikkle") as show:
        for status in statuses():
            show(status)
    text = stream.getvalue()
    assert (
        "100k/100k steps" in text and "2.5M steps/s" in text and "return 1.5" in text and "ETA 0:00" in text
    )
    assert text.count("Open a window.") == 1
    if not terminal:
        lines = text.splitlines()
        assert len(lines) == 11
        assert lines[4] == "! after 49k steps: too hot: 99 degrees. Open a window."
        assert lines[5] == "bikkle: 50k/100k steps, 2.5M steps/s, return 1.5, ETA 50:50, too hot"


def test_records_are_cut_back_to_the_checkpoint(tmp_path):
    file = tmp_path / "metrics.jsonl"
    with file.open("w") as stream:
        for chunk in range(3):
            records.append(stream, {"chunk": chunk})
        stream.write('{"chu')
    records.truncate(file, 2)
    assert records.read(file) == [{"chunk": 0}, {"chunk": 1}]
    with pytest.raises(Exception, match="has 2 lines, the checkpoint needs 3"):
        records.truncate(file, 3)


def test_tensorboard_takes_the_numbers(tmp_path):
    sink = sinks.open_sink("tensorboard", tmp_path, {}, 0)
    sink.write(100, {"episode_return": 1.0})
    sink.close()
    assert any((tmp_path / "tensorboard").iterdir())


def lines(num_seeds, num_chunks=12):
    random = np.random.default_rng(0)
    return [
        {
            "env_steps": 1000 * chunk,
            "metrics": {name: list(value + random.normal(size=num_seeds)) for name, value in HEALTHY.items()}
            | {"never": [None] * num_seeds, "episode_return": [None if chunk < 3 else 1.0] * num_seeds},
        }
        for chunk in range(1, num_chunks + 1)
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("num_seeds", "num_chunks"), [(1, 12), (5, 12), (1, 1), (2, 2)])
def test_curves_are_drawn_for_any_number_of_seeds_and_chunks(tmp_path, num_seeds, num_chunks):
    plots.plot_curves(tmp_path / "curves.png", lines(num_seeds, num_chunks))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
