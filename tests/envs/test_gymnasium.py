"""Our environments as Gymnasium ones: its own checker, and its own vector environments as the reference."""

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from probes import ActionFollowsCue

import envs
from envs.bikkle import protocol_params
from envs.gymnasium_adapter import GymnasiumEnv, space_of
from envs.gymnasium_vector import GymnasiumVectorEnv
from purerl import spaces

BIKKLE = "purerl/Bikkle-v0"
# Episodes end by a touch, which terminates them, or after 9 steps, which truncates them.
SHORT = {"max_steps_in_episode": 9, "continuing": False, "max_step": 0.08}


@pytest.fixture(autouse=True, scope="module")
def registered():
    envs.register_gymnasium()
    envs.register_gymnasium()


def assert_same(left, right):
    """Equal arrays of equal types, however they are nested; in float32, which a batch rounds differently."""
    left, right = jax.tree.leaves_with_path(left), jax.tree.leaves_with_path(right)
    assert [path for path, _ in left] == [path for path, _ in right]
    for (path, one), (_, other) in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=str(path))
        assert np.asarray(one).dtype == np.asarray(other).dtype, path


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", envs.ENVIRONMENTS)
def test_every_registered_environment_passes_the_checker_of_gymnasium(name):
    painted = envs.ENVIRONMENTS[name].frame is not None
    env = gymnasium.make(f"purerl/{name}", render_mode="rgb_array" if painted else None)
    check_env(env.unwrapped, skip_render_check=not painted)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("fields", [{"observation": "flat", "action": "angle"}, {"observation": "image"}])
def test_every_form_of_observation_and_action_passes_the_checker(fields):
    check_env(gymnasium.make(BIKKLE, **fields).unwrapped)


def test_discrete_actions_pass_the_checker_and_reach_the_environment():
    env = GymnasiumEnv(ActionFollowsCue(num_actions=2))
    check_env(env, skip_render_check=True)
    for seed in range(4):
        (cue, _), _ = env.reset(seed=seed)
        _, reward, terminated, truncated, _ = env.step(np.int64(cue > 0))
        assert (reward, terminated, truncated) == (1.0, True, False)


def test_spaces_keep_bounds_shapes_and_types():
    assert space_of(spaces.Discrete(3)) == gymnasium.spaces.Discrete(3)
    box = space_of(spaces.Box(0, 1, (2, 3), bool))
    assert (box.shape, box.dtype) == ((2, 3), np.dtype(bool))
    assert space_of(spaces.Box(-np.inf, 2.0, (2,))) == gymnasium.spaces.Box(-np.inf, 2.0, (2,), np.float32)
    tokens = space_of(spaces.Dict({"a": spaces.Tokens(4, 2, kind=0, low=1.0, high=np.array([2.0, 3.0]))}))
    values, mask = tokens["a"]["values"], tokens["a"]["mask"]
    assert (values.shape, mask.shape, mask.dtype) == ((4, 2), (4,), np.dtype(bool))
    # Features of absent tokens are 0, which must lie within the bounds.
    np.testing.assert_array_equal(values.low, np.zeros((4, 2)))
    np.testing.assert_array_equal(values.high[0], [2.0, 3.0])


def test_the_same_seed_gives_the_same_episode_and_no_seed_another_one():
    env = gymnasium.make(BIKKLE)
    first, _ = env.reset(seed=3)
    other, _ = env.reset()
    again, _ = env.reset(seed=3)
    assert_same(first, again)
    assert (first["agent"]["values"] != other["agent"]["values"]).any()


def test_a_time_limit_truncates_and_a_touch_terminates():
    env = gymnasium.make(BIKKLE, params=SHORT)
    ends = []
    env.reset(seed=0)
    for _ in range(300):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        if terminated or truncated:
            ends.append((terminated, truncated, info["pink"] + info["blue"] > 0))
            env.reset()
    assert set(ends) == {(True, False, True), (False, True, False)}


def test_parameters_are_given_whole_or_by_name_and_checked():
    assert gymnasium.make(BIKKLE, params=protocol_params("record", "target")).unwrapped.params.continuing
    assert not gymnasium.make(BIKKLE, params=SHORT).unwrapped.params.continuing
    with pytest.raises(ValueError, match="num_pellets"):
        gymnasium.make(BIKKLE, params={"num_pellets": 3})


def test_what_the_caller_gets_may_be_written_to():
    env = gymnasium.make_vec(BIKKLE, num_envs=2)
    observation, _ = env.reset(seed=0)
    observation["agent"]["values"][:] = 0.0
    after, *_ = env.step(env.action_space.sample())
    assert after["agent"]["values"].any()


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("observation", ["tokens", "flat"])
def test_a_vector_environment_does_what_gymnasiums_own_does_with_single_ones(mode, observation):
    fields = {"num_envs": 5, "params": SHORT, "observation": observation}
    ours = gymnasium.make_vec(BIKKLE, autoreset_mode=mode.value, **fields)
    kwargs = {"autoreset_mode": mode}
    theirs = gymnasium.make_vec(BIKKLE, vectorization_mode="sync", vector_kwargs=kwargs, **fields)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == mode
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_same(ours.reset(seed=7), theirs.reset(seed=7))
    ours.action_space.seed(0)
    num_ended = 0
    for _ in range(40):
        action = ours.action_space.sample()
        (*one, one_info), (*other, other_info) = ours.step(action), theirs.step(action)
        assert_same(one, other)
        assert_same_infos(one_info, other_info)
        ended = one[2] | one[3]
        num_ended += ended.sum()
        if mode == AutoresetMode.DISABLED and ended.any():
            resets = [env.reset(options={"reset_mask": ended.copy()}) for env in (ours, theirs)]
            assert_same(*resets)
    assert num_ended >= 20  # at least 4 episodes of 9 steps in each of the 5


def assert_same_infos(ours, theirs):
    """Equal where the masks say that there is a value."""
    assert set(ours) == set(theirs)
    for name in (name for name in ours if not name.startswith("_")):
        np.testing.assert_array_equal(mask := ours[f"_{name}"], theirs[f"_{name}"], err_msg=name)
        if name == "final_info":
            assert_same_infos(ours[name], theirs[name])
        else:
            assert_same(list(ours[name][mask]), list(theirs[name][mask]))


def test_a_seed_for_each_environment():
    ours = gymnasium.make_vec(BIKKLE, num_envs=3)
    whole, _ = ours.reset(seed=4)
    swapped, _ = ours.reset(seed=[6, None, 4])
    np.testing.assert_array_equal(swapped["pellets"]["values"][[0, 2]], whole["pellets"]["values"][[2, 0]])
    assert (swapped["pellets"]["values"][1] != whole["pellets"]["values"][1]).any()


def test_without_autoreset_an_environment_that_has_ended_must_be_reset():
    env = GymnasiumVectorEnv(ActionFollowsCue(num_actions=2), 2, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    with pytest.raises(ValueError, match=r"environments \[0, 1\] have ended"):
        env.step(np.zeros(2, int))


def test_episode_statistics_of_gymnasium_count_our_episodes():
    env = GymnasiumVectorEnv(ActionFollowsCue(num_actions=2, ends_after=3), 4)
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    (observation, _) = env.reset(seed=0)
    for _ in range(40):  # episodes of three steps, and one step to begin the next
        observation, *_ = env.step((observation[:, 0] > 0).astype(int))
    assert list(env.return_queue) == [3.0] * 40
    assert list(env.length_queue) == [3] * 40


def test_pictures_are_drawn_of_one_and_of_many():
    env = gymnasium.make(BIKKLE, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert (frame.ndim, frame.shape[2], frame.dtype) == (3, 3, np.uint8)
    many = gymnasium.make_vec(BIKKLE, num_envs=2, render_mode="rgb_array")
    many.reset(seed=0)
    frames = many.render()
    np.testing.assert_array_equal(frames[0], frame)
    assert (frames[1] != frame).any()
    with pytest.raises(ValueError, match="render_mode = 'human' must be one of"):
        gymnasium.make(BIKKLE, render_mode="human", disable_env_checker=True)
