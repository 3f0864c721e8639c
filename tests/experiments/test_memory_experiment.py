"""The memory experiment: environments with other numbers, and what it refuses before anything is compiled."""

import ppo_memory
import pytest

from envs.bikkle import Bikkle
from envs.registry import with_numbers


def build(**options):
    return ppo_memory.build(ppo_memory.Config(**options))


def test_numbers_of_the_environment_are_replaced_each_in_its_type():
    env = Bikkle(4)
    params = with_numbers(env, env.default_params, {"continuing": 1.0, "shaping": 3.0, "round_length": 50.0})
    assert params == env.default_params.replace(continuing=True, shaping=3.0, round_length=50)
    assert [type(each) for each in (params.continuing, params.round_length)] == [bool, int]


def test_a_critic_may_see_what_a_wrapper_hides_and_needs_an_encoder_of_its_own():
    options = {"env": "StatelessCartPole", "wrapper": "occlusion", "privileged_critic": True}
    with pytest.raises(ValueError, match=r"use --net\.no-shared-encoder"):
        build(**options)
    build(**options, net=ppo_memory.Config().net.replace(shared_encoder=False))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"privileged_critic": True}, "nothing of RepeatPrevious is hidden"),
        ({"numbers": {"lag": 3}}, "'lag' is no number of RepeatPrevious; there are max_steps_in_episode"),
        (
            {"env": "Bikkle-v0", "numbers": {"gaze_presence": 2.0}},
            "gaze_presence = 2.0 must lie between 0 and 1",
        ),
        ({"env": "Bikkle-v0", "numbers": {"gaze_source": 1.0}}, "'gaze_source' is no number"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        build(**options)
