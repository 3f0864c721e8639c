"""Programs of experiments lower for CUDA and hold nothing that only CPUs know: networks and evaluations.

The algorithms by themselves do so in `algorithms/test_contract.py`.
"""

from functools import partial

import dqn
import dqn_maze
import jax
import ppo
import ppo_ant
import ppo_bikkle
import ppo_bikkle_curriculum
import ppo_maze
import ppo_memory
import pytest
import sac
import sac_bikkle
from dry_runs import assert_of_cuda, custom_calls, lowered_for_cuda

from purerl.run import arguments

PPO = [
    "--ppo.num-envs=16", "--ppo.num-steps=4", "--ppo.num-epochs=1", "--ppo.num-minibatches=2", "--net.width=8"
]  # fmt: skip
MAZE = ["--eval-mazes=2", "--net.num-iterations=2", "--net.channels=2", "--net.head-width=8", "--net.width=8"]
BIKKLE = ["--eval-episodes=2", "--env.num-pellets", "4"]
ANY = ["--eval-episodes=2"]
DQN = ["--dqn.num-envs=4", "--dqn.num-steps=2", "--net.width=8"]
PQN = [
    "--algorithm=pqn",
    "--pqn.num-envs=16",
    "--pqn.num-steps=4",
    "--pqn.num-minibatches=2",
    "--net.width=8",
]
SAC = ["--sac.num-envs=4", "--sac.num-steps=2", "--net.width=8"]
MEMORY = ["--mem.width=8", "--mem.num-layers=1", "--mem.length=3", "--mem.feed-forward=8"]

# Each encoder and memory once, with what an experiment can switch on.
WHOLE = {
    "ppo": (ppo, [*PPO, *ANY]),
    "ppo in the arena": (ppo_bikkle, [*PPO, *BIKKLE]),
    "dqn": (dqn, [*DQN, *ANY, "--dqn.prioritized", "--dqn.double", "--net.dueling"]),
    "sac": (sac, [*SAC, *ANY]),
    "transformer": (ppo_memory, [*PPO, *MEMORY, *ANY, "--memory=transformer"]),
    "pqn in mazes": (dqn_maze, [*PQN, *MAZE, "--pqn.num-levels=16"]),
}
TRAINING = {
    "kl target and moments": (ppo, [*PPO, "--ppo.kl-target=0.01", "--ppo.normalize-observations"]),
    "pictures": (ppo, [*PPO, "--env=Breakout-MinAtar", "--network=image"]),
    "microbatches of sets": (ppo_bikkle, [*PPO, "--network=deepsets", "--ppo.microbatch-size=16"]),
    "curriculum": (ppo_bikkle_curriculum, [*PPO, *BIKKLE, "--network=mlp", "--curriculum.name=plr"]),
    "propagation": (ppo_maze, [*PPO, *MAZE]),
    "iterated convolution": (ppo_maze, [*PPO, *MAZE, "--net.recurrence=convolve"]),
    "cnn and accel": (ppo_maze, [*PPO, *MAZE, "--network=cnn", "--curriculum.name=accel"]),
    "sac in the arena": (sac_bikkle, [*SAC, *BIKKLE, "--env.action=angle", "--sac.batch-size=8"]),
    "gru": (ppo_memory, [*PPO, *MEMORY, "--memory=gru", "--wrapper=dynamics"]),
    "lstm": (ppo_memory, [*PPO, *MEMORY, "--memory=lstm", "--wrapper=retry"]),
    "lru": (ppo_memory, [*PPO, *MEMORY, "--memory=lru", "--wrapper=occlusion"]),
    "ant": (ppo_ant, [*PPO, *MEMORY]),
}


def programs_of(script, options, monkeypatch, **what):
    if script is ppo_ant:
        pytest.importorskip("brax")
    config = arguments.parse(script.Config, options).config
    return lowered_for_cuda(partial(script.build, config), monkeypatch, total_steps=64, **what)


@pytest.mark.parametrize("name", WHOLE)
def test_training_and_evaluation_lower_for_cuda(name, monkeypatch):
    programs = programs_of(*WHOLE[name], monkeypatch)
    assert len(programs) >= 5  # keys, chunk, init, diagnosis, evaluation
    assert_of_cuda(programs)


@pytest.mark.parametrize("name", TRAINING)
def test_training_lowers_for_cuda(name, monkeypatch):
    programs = programs_of(*TRAINING[name], monkeypatch, evaluates=False)
    assert len(programs) >= 4  # keys, chunk, init, diagnosis
    assert_of_cuda(programs)


def test_training_over_two_devices_lowers_for_cuda(monkeypatch):
    if len(jax.devices()) < 2:
        pytest.skip("one device only")
    assert_of_cuda(programs_of(ppo, PPO, monkeypatch, evaluates=False, num_devices=2))


def test_what_a_cpu_alone_knows_would_be_found(monkeypatch):
    # The same program, traced for the CPU that it is lowered on: its few samples are laid out.
    programs = programs_of(ppo, PPO, monkeypatch, evaluates=False, traced_for="cpu")
    assert set().union(*map(custom_calls, programs)) >= {"LayoutConstraint"}
    with pytest.raises(AssertionError, match="LayoutConstraint"):
        assert_of_cuda(programs)
