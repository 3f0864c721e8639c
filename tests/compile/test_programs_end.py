"""No experiment waits for itself: its programs, traced at default options, hold no linear algebra."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from purerl.compile import program
from purerl.compile.waiting import waiting_operations
from purerl.rollout import evaluate

SCRIPTS = sorted(file.stem for file in (Path(__file__).parents[2] / "experiments").glob("*.py"))


class _Traced(Exception):
    """Programs, before they are lowered."""


def _stop(devices, *jaxprs):
    raise _Traced(jaxprs)


@pytest.fixture(autouse=True)
def _nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(program, "safe", _stop)
    monkeypatch.setattr(evaluate, "safe", _stop)


@pytest.mark.parametrize("script", SCRIPTS)
def test_training_diagnosis_and_evaluation_hold_no_linear_algebra(script):
    if script == "ppo_ant":
        pytest.importorskip("brax")
    module = importlib.import_module(script)
    experiment = module.build(module.Config())
    config = experiment.algorithm_config
    with pytest.raises(_Traced) as training:
        experiment.build_program(
            seed=0, num_seeds=1, total_steps=1, num_devices=experiment.num_devices, shard="environments"
        )
    init, chunk = training.value.args[0]
    state = jax.eval_shape(lambda: experiment.algorithm.init(jax.random.key(0), config))
    diagnosis = jax.make_jaxpr(lambda state: experiment.algorithm.diagnose(state, config))(state)
    learners = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), state.learner)
    with pytest.raises(_Traced) as evaluation:
        experiment.evaluate(learners, 0)
    assert waiting_operations(init, chunk, diagnosis, *evaluation.value.args[0]) == []
