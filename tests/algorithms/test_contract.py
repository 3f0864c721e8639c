"""What every algorithm keeps: each case once, for all of `learners.LEARNERS`.

A new algorithm enters by its line in that table. Few programs serve all cases of one: an update alone, in an
environment whose flags are numbers; four updates of several seeds side by side; the program that ships, over
two devices; and an update in two parts on one device.
"""

import dataclasses
import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dry_runs import assert_of_cuda
from learners import CUES, LEARNERS

from purerl import ranges
from purerl.compile import platforms
from purerl.compile.placement import arrange
from purerl.compile.program import build_program
from purerl.functional.metrics import unpack
from purerl.replay.rows import Rows
from purerl.replay.rows import unpack as unpack_rows
from purerl.run import checkpoint

SEEDS = range(3)
TOGETHER = 4
"""Updates in one call of the program of several seeds."""
MIXED = {"choice_reward": 1.0, "ends_after": 3, "cuts_thirds": True}
"""Episodes of three steps that end, and of two that are cut: updates end within them, and at their ends."""

every_algorithm = pytest.mark.parametrize("name", LEARNERS)


def config_of(name, rules, **changes):
    """The configuration in the table, changed; every leaf is an array, so that no value compiles anew."""
    config = LEARNERS[name].config
    config = config.replace(env_params=config.env_params.replace(**rules), **changes)
    return jax.tree.map(jnp.asarray, config)


def skip_where(name, case):
    if reason := LEARNERS[name].skips.get(case):
        pytest.skip(reason)


@cache
def first_state_of(name):
    """`init` of an algorithm, compiled once."""
    return jax.jit(LEARNERS[name].on(LEARNERS[name].env()).init)


def begin(name, seed, config):
    """The first state of a seed, while JAX watches over the keys."""
    with jax.debug_key_reuse(True):
        return first_state_of(name)(jax.random.key(seed), config)


@cache
def side_by_side(name):
    """Programs of three seeds: `advance(states, config)` by four updates, and a look at them.

    `look(states, config)` gives the most likely actions [S, 2, ...] and the values [S, ..., 2] where the cue
    is 1 and where it is -1, and the diagnosis.
    """
    entry = LEARNERS[name]
    env = entry.env()
    algorithm, network = entry.on(env), entry.network(env)

    def advance(states, config):
        step = lambda state, _: algorithm.update(state, config)  # noqa: E731
        return jax.vmap(lambda state: jax.lax.scan(step, state, None, TOGETHER))(states)

    def look_at(state, config):
        carry = algorithm.initial_carry and algorithm.initial_carry(len(CUES))
        remembered = () if carry is None else (carry,)
        action = algorithm.policy(state.learner, CUES, jax.random.key(0), True, *remembered)
        values = entry.values and entry.values(network, state.learner, CUES)
        return action[0] if remembered else action, values, unpack(algorithm.diagnose(state, config))

    return jax.jit(advance), jax.jit(jax.vmap(look_at, (0, None)))


@jax.jit
def stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def run(name, num_updates, rules, **changes):
    """States of three seeds after so many updates, metrics of the last four [S, 4], and a look at them."""
    config = config_of(name, rules, **changes)
    advance, look = side_by_side(name)
    states = stack(*(begin(name, seed, config) for seed in SEEDS))
    for _ in range(num_updates // TOGETHER):
        states, metrics = advance(states, config)
    return states, unpack(metrics), look(states, config)


def learn(name, **rules):
    """The actions and the values, as `look` gives them, after as many updates as the table grants."""
    count = LEARNERS[name].num_updates
    actions, values, _ = run(name, count, rules, total_updates=count)[2]
    return actions, values


@cache
def alone(name):
    """The last of these seeds, update by update; flags are numbers, and JAX watches over the keys.

    Returns:
        The state after as many updates, and how often `update` was traced.
    """
    algorithm, traces = LEARNERS[name].on(LEARNERS[name].env(flags="float32")), []
    config = config_of(name, MIXED, learning_rate=1e-3, total_updates=TOGETHER)

    @jax.jit
    def update(state, config):
        traces.append(1)
        return algorithm.update(state, config)[0]

    state = begin(name, SEEDS[-1], config)
    with jax.debug_key_reuse(True):
        for _ in range(TOGETHER):
            state = update(state, config)
    return state, len(traces)


def assert_same_draws(one, other, **tolerance):
    """Keys, whole numbers and flags are the same, and other numbers nearly so."""

    def legible(leaf):
        return unpack_rows(leaf) if isinstance(leaf, Rows) else leaf

    def compare(one, other):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        exact = not jnp.issubdtype(one.dtype, jnp.floating)
        np.testing.assert_allclose(one, other, **({"rtol": 0, "atol": 0} if exact else tolerance))

    one, other = (jax.tree.map(legible, each, is_leaf=lambda x: isinstance(x, Rows)) for each in (one, other))
    jax.tree.map(compare, one, other)


@every_algorithm
def test_no_key_is_used_twice_and_an_update_is_traced_once(name):
    state, traces = alone(name)
    assert traces == 1
    assert state.num_updates == TOGETHER


@every_algorithm
def test_a_seed_alone_update_by_update_equals_itself_among_others_in_a_scan(name):
    # And flags that are numbers, as some environments give them, are flags.
    states, _, _ = run(name, TOGETHER, MIXED, learning_rate=1e-3, total_updates=TOGETHER)
    assert_same_draws(jax.tree.map(lambda leaf: leaf[-1], states), alone(name)[0], rtol=1e-3, atol=2e-4)
    spread = jax.tree.map(lambda leaf: jnp.abs(leaf[0] - leaf[1]).max(), states.learner.params)
    assert max(jax.tree.leaves(spread)) > 0.01


@every_algorithm
def test_a_value_follows_the_observation_and_ends_with_the_episode(name):
    # One step an episode, reward 1 and half the cue: 1.5 and 0.5.
    skip_where(name, "values")
    values = learn(name, bonus=1.0, cue_reward=0.5)[1]
    np.testing.assert_allclose(values, jnp.broadcast_to(jnp.array([1.5, 0.5]), values.shape), atol=0.15)


@every_algorithm
def test_a_value_goes_on_where_a_limit_cuts_the_episode(name):
    # Reward 1 and a discount of 0.5, cut after three steps: 1 + 0.5 + 0.25 + ... = 2. Were the cut an
    # end, the first step would be worth 1.75, and all three 1.42 on average.
    skip_where(name, "values")
    np.testing.assert_allclose(learn(name, bonus=1.0, ends_after=3, terminates=False)[1], 2.0, atol=0.15)


@every_algorithm
def test_the_policy_learns_which_action_is_right(name):
    # The one that the cue names, or half the cue.
    actions = learn(name, choice_reward=1.0)[0]
    if LEARNERS[name].continuous:
        np.testing.assert_allclose(actions[..., 0], np.tile([0.5, -0.5], (len(SEEDS), 1)), atol=0.15)
    else:
        np.testing.assert_array_equal(actions, np.tile([1, 0], (len(SEEDS), 1)))


@every_algorithm
def test_what_is_seen_behind_the_end_reaches_nothing(name):
    (learned, *told), (learned_beside_nan, *told_beside_nan) = (
        (states.learner, *rest)
        for states, *rest in (
            run(name, TOGETHER, {**MIXED, "seen": seen}, total_updates=TOGETHER) for seen in (0.0, jnp.nan)
        )
    )
    for leaf in jax.tree.leaves(learned_beside_nan):
        assert np.isfinite(leaf).all()
    jax.tree.map(np.testing.assert_array_equal, learned_beside_nan, learned)
    jax.tree.map(np.testing.assert_array_equal, told_beside_nan, told)


@every_algorithm
def test_what_is_measured_is_right_before_the_first_step(name):
    # Where no step moves anything, all that an update measures is measured before its first one.
    still = {"learning_rate": 0.0, "final_learning_rate": 0.0, **LEARNERS[name].still}

    def told(reward):
        metrics = run(name, TOGETHER, {"bonus": reward}, **still)[1]
        return {name: (mean.total / mean.weight)[:, :2] for name, mean in metrics.items()}

    LEARNERS[name].first_step(told(1.0), told(3.0))


@every_algorithm
def test_the_first_step_has_the_full_rate_and_the_last_update_of_four_begins_with_a_quarter_of_it(name):
    rate = run(name, TOGETHER, MIXED, total_updates=TOGETHER)[1]["learning_rate"]
    rounds = LEARNERS[name].rounds  # their mean: of 0, 1, ..., 15 sixteenths of an update, 7.5 / 16
    done = (np.arange(4) + (rounds - 1) / (2 * rounds)) / 4
    expected = LEARNERS[name].config.learning_rate * (1.0 - done)
    np.testing.assert_allclose(rate.total / rate.weight, np.tile(expected, (len(SEEDS), 1)), rtol=1e-5)


@cache
def shipped(name):
    """The program that a command compiles: two seeds, environments over two devices, four chunks."""
    entry = LEARNERS[name]
    config = entry.config
    config = config.replace(learning_rate=1e-3, env_params=config.env_params.replace(**MIXED))

    def make(axis_name):
        return entry.on(entry.env(), axis_name)._replace(diagnose=None, lower_level=False)

    total = TOGETHER * make(None).steps_per_update(config)
    return build_program(make, config, total_steps=total, target_chunks=TOGETHER, num_seeds=2, num_devices=2)


def advance(program, state, num_chunks):
    for _ in range(num_chunks):
        state, _ = program.chunk(state)
    return state


@cache
def halves(name):
    """Two seeds over two devices, on the host: at the beginning, after two chunks of four, and after all."""
    program = shipped(name)
    state = program.init()
    start = jax.tree.map(on_host, state)
    state = advance(program, state, 2)
    half = checkpoint.snapshot(state)
    return start, half, checkpoint.snapshot(advance(program, state, 2))


def on_host(leaf):
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.asarray(leaf)
    return jax.random.wrap_key_data(np.asarray(jax.random.key_data(leaf)))


@every_algorithm
def test_a_run_that_is_saved_and_resumed_ends_with_the_same_bits(name, tmp_path):
    program = shipped(name)
    _, half, whole = halves(name)
    architecture = checkpoint.describe(program.state_shape)
    checkpoint.save(tmp_path, half, architecture=architecture, chunk=2, config={}, keep=1)
    state = checkpoint.restore(checkpoint.latest(tmp_path, print), program.state_shape)
    jax.tree.map(np.testing.assert_array_equal, checkpoint.snapshot(advance(program, state, 2)), whole)


@every_algorithm
def test_environments_over_two_devices_learn_as_their_parts_do_on_one(name):
    if len(jax.local_devices()) < 2:
        pytest.skip("one device only")
    assert shipped(name).num_devices == 2
    start, _, whole = halves(name)
    placement = arrange("environments", 2, 1, 1)
    algorithm = LEARNERS[name].on(LEARNERS[name].env(), placement.axis)
    update = jax.jit(placement.in_parts(algorithm.update))
    config = config_of(name, MIXED, learning_rate=1e-3, total_updates=TOGETHER)
    state = jax.tree.map(lambda leaf: leaf[1], start)
    for _ in range(TOGETHER):
        state, _ = update(state, config)
    assert_same_draws(
        jax.tree.map(lambda leaf: leaf[1], whole), checkpoint.snapshot(state), rtol=1e-3, atol=2e-4
    )


@every_algorithm
def test_all_of_it_lowers_for_cuda(name):
    entry = LEARNERS[name]
    algorithm = entry.on(entry.env())

    def all_of_it(key, config):
        state, metrics = algorithm.update(algorithm.init(key, config), config)
        return state, metrics, algorithm.diagnose(state, config)

    with platforms.tracing_for("cuda"):
        traced = jax.jit(all_of_it).trace(jax.random.key(0), config_of(name, MIXED))
        assert_of_cuda([traced.lower(lowering_platforms=("cuda",)).as_text()])


def senseless(config):
    """Numbers that each numeric field of a configuration cannot take."""
    marked = ranges.ranges_of(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or field.name == "total_updates":
            continue
        if isinstance(value, float):
            yield field.name, math.nan
        allowed = marked.get(field.name, ranges.Range(least=0) if isinstance(value, int) else ranges.Range())
        if allowed.above is not None:
            yield field.name, type(value)(allowed.above)
        elif math.isfinite(allowed.least):
            yield field.name, type(value)(allowed.least - 1)
        if math.isfinite(allowed.most):
            yield field.name, type(value)(allowed.most + 1)


@every_algorithm
def test_numbers_that_cannot_be_meant_are_refused(name):
    entry = LEARNERS[name]
    entry.check(entry.config)
    tried = [each for each in senseless(entry.config) if each[0] not in entry.any_number]
    assert len(tried) > 10
    for field, value in tried:
        with pytest.raises(ValueError, match=rf"^[^\n]*\b{field} = {value}\b[^\n]*$"):
            entry.check(entry.config.replace(**{field: value}))
            pytest.fail(f"{field} = {value} was let through")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [(name, *relation) for name, entry in LEARNERS.items() for relation in entry.relations],
)
def test_options_that_contradict_each_other_are_refused(name, changes, message):
    entry = LEARNERS[name]
    with pytest.raises(ValueError, match=message) as refusal:
        entry.check(entry.config.replace(**changes))
    assert "\n" not in str(refusal.value)
