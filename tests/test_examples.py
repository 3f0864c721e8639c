"""The examples: short, run as they are, and shown on the page about extending PureRL."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from purerl.run import cli

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
by_name = pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
# What each must reach, and in how many steps. Line: 10 of the 11 places are 1 to 5 steps away from the goal,
# and it is 2 from itself: 32 / 11 = 2.91 on average, so the best mean return is 1 - 0.05 * 1.91 = 0.90; at
# random, 20 steps of the chain give 0.07. CartPole: at random a pole falls after 22 steps.
LEARNED = {
    "own_environment": (60_000, 0.85),
    "own_network": (40_000, 60.0),
    "own_loss": (40_000, 60.0),
    "own_algorithm": (40_000, 60.0),
}


def load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@by_name
def test_an_example_is_at_most_sixty_lines(file):
    assert len(file.read_text().splitlines()) <= 60


@by_name
def test_an_example_learns(file, tmp_path):
    module, (steps, least) = load(file), LEARNED[file.stem]
    argv = ["--run-dir", str(tmp_path / "run"), f"--total-steps={steps}"]
    with pytest.raises(SystemExit) as stop:
        cli.main(module.Config, module.build, argv=argv)
    assert stop.value.code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["eval"]["default"]["mean"] > least


def test_the_page_shows_every_example_as_it_is():
    page = (ROOT / "docs" / "extending.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert [file.read_text() for file in EXAMPLES if file.read_text() not in shown] == []
