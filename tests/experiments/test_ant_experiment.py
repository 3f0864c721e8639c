"""The ant with the hyperparameters of record; what needs Brax is skipped where it is not installed."""

import dataclasses

import jax
import ppo_ant
import pytest

from purerl.run import cli


def config_of(size):
    return dataclasses.replace(
        ppo_ant.Config(), ppo=ppo_ant.ppo_of(size), net=ppo_ant.net_of(size), mem=ppo_ant.memory_of(size)
    )


def test_the_scale_follows_the_device_and_changes_nothing_but_sizes():
    small, record = config_of(ppo_ant.SMALL), config_of(ppo_ant.RECORD)
    assert ppo_ant.Config() == (small if jax.default_backend() == "cpu" else record)
    assert small.ppo.replace(num_envs=record.ppo.num_envs) == record.ppo
    assert (record.ppo.num_envs, record.ppo.num_steps, record.mem.length) == (4096, 24, 24)
    assert record.net.initial_std == 1.0  # its logarithm is 0
    assert (record.mem.num_layers, record.mem.width, record.mem.num_heads) == (6, 256, 8)


def test_the_help_says_how_it_is_scaled(capsys):
    with pytest.raises(SystemExit):
        cli.main(ppo_ant.Config, ppo_ant.build, argv=["--help"], description=ppo_ant.__doc__)
    text = " ".join(capsys.readouterr().out.split())
    for size in (ppo_ant.RECORD, ppo_ant.SMALL):
        assert f"{size.num_envs:,} environments" in text


@pytest.mark.parametrize("size", [ppo_ant.SMALL, ppo_ant.RECORD], ids=["small", "record"])
def test_the_experiment_is_built_and_its_state_has_the_sizes_that_were_asked_for(size):
    pytest.importorskip("brax")
    experiment = ppo_ant.build(config_of(size))
    assert experiment.name == "ppo-brax-ant-spring"
    state = jax.eval_shape(experiment.algorithm.init, jax.random.key(0), experiment.algorithm_config)
    rings = state.actor.carry["actor"].states
    assert [ring.shape for ring in rings] == [(size.num_envs, 25, size.width)] * size.num_blocks
    assert state.learner.params["params"]["actor_out"]["kernel"].shape == (size.width, 8)
