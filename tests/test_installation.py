"""What an installation brings: versions that fit together, and every file that the code reads."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pins(name):
    """The versions that a file of constraints names itself, by package."""
    lines = (ROOT / name).read_text().splitlines()
    found = re.findall(r"^([\w.-]+)==(\S+)$", "\n".join(lines), flags=re.MULTILINE)
    assert len(found) == len(dict(found))
    return {package.lower().replace("_", "-"): version for package, version in found}


def test_a_gpu_gets_the_versions_of_a_cpu_and_the_plugin_of_that_jax():
    shared, cuda = pins("constraints.txt"), pins("constraints-cuda.txt")
    # The file takes in the other one, so that no version stands in both and can differ.
    assert "-c constraints.txt" in (ROOT / "constraints-cuda.txt").read_text().splitlines()
    assert not shared.keys() & cuda.keys()
    assert shared["jax"] == shared["jaxlib"] == cuda["jax-cuda13-plugin"] == cuda["jax-cuda13-pjrt"]
    assert any(package.startswith("nvidia-cudnn") for package in cuda)
    assert "pip install -q -c constraints-cuda.txt" in (ROOT / "README.md").read_text()


def test_constraints_name_no_place_to_install_from():
    for file in ROOT.glob("constraints*.txt"):
        assert not re.search(r"https?:|--index|--find-links|@ ", file.read_text()), file.name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder that holds what the wheel installs, and nothing else."""
    room = tmp_path_factory.mktemp("wheel")
    source = room / "source"  # of what is under version control alone, and without leaving builds behind
    for file in tracked("pyproject.toml", "README.md", "LICENSE", "purerl", "envs"):
        target = source / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, target)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(room), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = room.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(room / "installed")
    return room / "installed"


def tracked(*paths):
    listed = subprocess.run(
        ["git", "ls-files", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    files = tracked("purerl", "envs")
    assert any(not file.endswith(".py") for file in files)  # data, too
    assert [file for file in files if not (wheel / file).is_file()] == []


def test_an_experiment_runs_far_from_the_checkout_on_the_wheel_alone(wheel, tmp_path):
    shutil.copy(ROOT / "experiments" / "ppo_bikkle.py", tmp_path / "copied.py")  # alone
    environment = os.environ | {"PYTHONPATH": str(wheel)}

    def run(*command):
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    helped = run("copied.py", "--help")
    assert helped.returncode == 0, helped.stderr[-2000:]
    assert "--ppo.gamma" in helped.stdout
    # The table of results beside the scripted players, whose returns are data of the package.
    cell = "{'mean': 1.0, 'sem': 0.1, 'episodes': 2, 'per_seed': [1.0]}"
    table = (
        "import purerl; from envs.experiments import bikkle; from rich import print; "
        f"results = {{name: {{'target': {cell}}} for name in bikkle.EVALUATED}}; "
        "print(purerl.__file__); print(bikkle.results_table(results))"
    )
    printed = run("-c", table)
    assert printed.returncode == 0, printed.stderr[-2000:]
    assert str(wheel) in printed.stdout.replace("\n", "")
    assert "continuing_16" in printed.stdout
