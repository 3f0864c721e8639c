"""Kernels on grids equal the plain forms; encoders keep positions and fit any size of grid."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain_mazes import draw, search

from purerl import spaces
from purerl.networks import NetworkConfig, grids, make_actor_critic
from purerl.networks.grids import PropagationEncoder
from purerl.networks.kernels.convolution import NEIGHBOURS, convolve, neighborhoods, shifted
from purerl.networks.kernels.propagation import propagate
from purerl.networks.layers import MLPEncoder

CONFIGS = {
    "cnn": ("cnn", NetworkConfig(channels=4, num_blocks=1, width=8)),
    "cnn, flat": ("cnn", NetworkConfig(channels=4, num_blocks=1, width=8, readout="flatten")),
    "propagate": ("recurrent", NetworkConfig(channels=4, width=8)),
    "convolve": ("recurrent", NetworkConfig(channels=4, width=8, recurrence="convolve", num_iterations=3)),
}
ANY_SIZE = ("cnn", "propagate", "convolve")


def grid_env(shape, num_actions=4):
    """What a network needs to know of an environment whose observation has this shape."""
    return SimpleNamespace(
        observation_space=lambda params: spaces.Box(0, 1, shape, bool),
        action_space=lambda params: spaces.Discrete(num_actions),
    )


def observe(walls, agent, goal):
    """Observations, bool [B, N, N, 3], of mazes, bool [B, N, N], with positions int [B, 2]."""
    marks = [jnp.zeros(walls.shape, bool).at[jnp.arange(len(walls)), *at.T].set(True) for at in (agent, goal)]
    return jnp.stack([jnp.asarray(walls), *marks], axis=-1)


def random_observations(key, size=7, batch=6):
    """Noise for walls, and an agent and a goal somewhere within the border."""
    keys = jax.random.split(key, 3)
    walls = jax.random.bernoulli(keys[0], 0.4, (batch, size, size))
    return observe(walls, *(jax.random.randint(k, (batch, 2), 1, size - 1) for k in keys[1:]))


@cache
def make(name, size=7, **changes):
    encoder, config = CONFIGS[name]
    network = make_actor_critic(grid_env((size, size, 3)), None, encoder, config.replace(**changes))
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, size, size, 3), bool))
    # Not those of `init`, whose policy head starts near zero: equality would mean nothing.
    draws = np.random.default_rng(0)
    return network, jax.tree.map(lambda leaf: jnp.float32(draws.normal(0, 0.3, leaf.shape)), shapes)


@partial(jax.jit, static_argnums=0)
def outputs(network, params, observation):
    policy, value = network.apply(params, observation)
    return jnp.concatenate([policy.logits, value[:, None]], axis=1)


def textbook_convolution(kernel, x):
    dimensions = ("CHWN", "HWIO", "CHWN")
    kernel = kernel.reshape(3, 3, x.shape[0], -1)
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)


def textbook_propagation(source, cost, num_iterations):
    def iterate(value, _):
        around = [shifted(value, *step, fill=-1e30) for step in NEIGHBOURS]
        return jnp.maximum(source, jnp.stack(around).max(0) - cost), None

    return jax.lax.scan(iterate, source, None, length=num_iterations)[0]


def value_and_gradients(function, arguments, cotangent):
    result, backward = jax.vjp(function, *arguments)
    return result, *backward(cotangent)


@pytest.mark.parametrize("kernel", ["convolve", "propagate"])
def test_kernels_and_their_gradients_equal_the_textbook(kernel):
    keys = jax.random.split(jax.random.key(0), 3)
    if kernel == "convolve":
        ours, textbook = convolve, textbook_convolution
        arguments = (jax.random.normal(keys[0], (27, 5)), jax.random.normal(keys[1], (3, 6, 7, 4)))
    else:  # 40 iterations are enough to converge, where the gradient is exact
        ours, textbook = (lambda s, c, f=f: f(s, c, 40) for f in (propagate, textbook_propagation))
        source, price = (jax.random.normal(key, (5, 6, 7, 4)) for key in keys[:2])
        arguments = (3 * source, jnp.exp(price - 2))
    cotangent = jax.random.normal(keys[2], (5, 6, 7, 4))
    both = [jax.jit(partial(value_and_gradients, f))(arguments, cotangent) for f in (ours, textbook)]
    for a, b in zip(*both, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_what_lies_outside_the_grid_is_zero():
    ones = jnp.ones((1, 3, 3, 1))
    # Of the nine cells around a corner four lie in the grid, around an edge six.
    counts = neighborhoods(ones).sum(0)[..., 0]
    np.testing.assert_array_equal(counts, [[4, 6, 4], [6, 9, 6], [4, 6, 4]])


def test_a_value_travels_one_cell_in_each_iteration_and_pays_for_each():
    source = jnp.full((1, 1, 5, 1), -100.0).at[0, 0, 0, 0].set(0.0)
    values = propagate(source, jnp.full(source.shape, 2.0), 3)
    np.testing.assert_array_equal(values[0, 0, :, 0], [0, -2, -4, -6, -100])


def test_values_with_walls_at_a_prohibitive_price_are_distances_to_the_goal():
    walls = draw("dfs", 7, seed=3, count=8)
    source = jnp.full((1, 7, 7, 8), -1e4).at[0, 5, 5].set(0.0)
    cost = jnp.where(walls.transpose(1, 2, 0), 1e5, 1.0)[None]
    values = np.asarray(propagate(source, cost, 40))[0]
    for maze in range(8):
        distance = search(walls[maze], (5, 5))
        assert (values[..., maze][distance >= 0] == -distance[distance >= 0]).all()


def test_the_gradient_is_divided_among_paths_that_are_equally_good():
    # Two shortest paths lead around the center of 2 x 2 cells, from one corner to the other.
    source = jnp.full((1, 2, 2, 1), -100.0).at[0, 0, 0, 0].set(0.0)
    corner = lambda cost: propagate(source, cost, 4)[0, 1, 1, 0]  # noqa: E731
    gradient = jax.grad(corner)(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient[0, ..., 0], [[0, -0.5], [-0.5, -1]])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_sample_does_not_depend_on_the_others_in_its_batch(name):
    network, params = make(name)
    observation = random_observations(jax.random.key(3))
    others = random_observations(jax.random.key(4)).at[2].set(observation[2])
    ours, theirs = outputs(network, params, observation), outputs(network, params, others)
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-5)
    assert jnp.abs(ours - theirs).max() > 1e-2


@pytest.mark.parametrize("name", CONFIGS)
def test_the_ratio_is_exactly_one_before_the_first_gradient_step(name):
    network, params = make(name)
    observation = random_observations(jax.random.key(3))

    def log_prob(params):
        return network.apply(params, observation)[0].log_prob(jnp.arange(6) % 4)

    # While acting, and while learning, where more is kept for the gradient.
    acting, (learning, _) = jax.jit(log_prob)(params), jax.jit(partial(jax.vjp, log_prob))(params)
    np.testing.assert_array_equal(acting, learning)


@pytest.mark.parametrize("name", CONFIGS)
def test_walls_agent_and_goal_have_influence(name):
    network, params = make(name)

    def total(grid):
        return outputs(network, params, grid).sum()

    gradient = jax.jit(jax.grad(total))(random_observations(jax.random.key(3)).astype(jnp.float32))
    assert (jnp.abs(gradient).sum((0, 1, 2)) > 0).all()


@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_parameters_fit_grids_of_any_size(name):
    _, params = make(name)
    larger, _ = make(name, size=11)
    observation = random_observations(jax.random.key(3), size=11)
    assert outputs(larger, params, observation).shape == (6, 5)


@pytest.mark.parametrize("name", ["propagate", "convolve"])
def test_more_iterations_need_no_other_parameters_and_see_further(name):
    # The goal is nine cells from the agent. A cell sees its neighbors before the first iteration, and the
    # agent looks at the values of its neighbors: two cells. Mean and maximum, which see all, are shut off.
    few, params = make(name, size=13, num_iterations=2)
    many, _ = make(name, size=13, num_iterations=30)
    if name == "convolve":
        params = jax.tree_util.tree_map_with_path(blind_to_all_cells, params)
    at = lambda *position: jnp.asarray([position])  # noqa: E731
    walls = jnp.zeros((1, 13, 13), bool)
    near_goal, far_goal = (observe(walls, at(6, 1), at(6, column)) for column in (10, 11))
    difference = lambda network: jnp.abs(  # noqa: E731
        outputs(network, params, near_goal) - outputs(network, params, far_goal)
    ).max()
    assert difference(few) == 0
    assert difference(many) > 0


def blind_to_all_cells(path, leaf):
    inside = "GridReadout" in jax.tree_util.keystr(path) and leaf.ndim == 2
    return leaf.at[4:].set(0.0) if inside else leaf


def test_values_that_spread_do_not_change_when_the_maze_moves_within_walls():
    network, params = make("propagate", size=15)
    maze = jnp.asarray(draw("dfs", 7, seed=3, count=4))
    agent, goal = jnp.tile(jnp.asarray([1, 1]), (4, 1)), jnp.tile(jnp.asarray([5, 5]), (4, 1))

    def placed(row, column):
        walls = jnp.ones((4, 15, 15), bool).at[:, row : row + 7, column : column + 7].set(maze)
        return observe(walls, agent + jnp.asarray([row, column]), goal + jnp.asarray([row, column]))

    # Two rows of walls around, so that no path and no surroundings differ.
    here, there = outputs(network, params, placed(3, 3)), outputs(network, params, placed(5, 4))
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_the_maps_of_an_untrained_network_follow_one_plane_each_and_cross_all_cells_alike():
    encoder = PropagationEncoder(channels=4, width=8)
    nothing = jnp.zeros((1, 7, 7), bool)
    maze = observe(nothing, jnp.asarray([[3, 3]]), jnp.asarray([[3, 5]]))
    params = encoder.init(jax.random.key(0), maze)
    kernel = params["params"]["sources_and_prices"]
    # Planes are wall and goal, then come four features; two sources stand before two prices.
    np.testing.assert_array_equal(kernel[:2, :2], np.eye(2))
    np.testing.assert_array_equal(kernel[2:], 0.0)
    np.testing.assert_array_equal(kernel[:, 2:], 0.0)


def test_maps_do_not_see_the_agent(monkeypatch):
    network, params = make("propagate")
    handed = []
    monkeypatch.setattr(
        grids, "propagate", lambda *arguments: handed.append(arguments) or propagate(*arguments)
    )
    maze = random_observations(jax.random.key(5))
    elsewhere = maze.at[..., grids.AGENT_CHANNEL].set(jnp.roll(maze[..., grids.AGENT_CHANNEL], 2, axis=1))
    for observation in (maze, elsewhere):
        network.apply(params, observation)
    (source, cost, _), (other_source, other_cost, _) = handed
    np.testing.assert_array_equal(source, other_source)
    np.testing.assert_array_equal(cost, other_cost)
    assert not np.array_equal(maze, elsewhere)


def test_an_mlp_takes_a_vector_of_a_patch_and_memory():
    vector = jax.random.normal(jax.random.key(0), (5, 31))
    encoder = MLPEncoder((16, 8), "relu")
    features = encoder.apply(encoder.init(jax.random.key(1), vector), vector)
    assert features.shape == (5, 8)
    assert features.dtype == jnp.float32


def imitation(num_mazes, seed):
    """Mazes of 7 x 7 with an agent anywhere, and the action of the shortest path to the corner."""
    walls = draw("dfs", 7, seed=seed, count=num_mazes)
    rng = np.random.default_rng(seed)
    agents, labels = [], []
    for maze in walls:
        distance = search(maze, (5, 5))
        agent = rng.permutation(np.argwhere(distance > 0))[0]
        around = [distance[tuple(agent + step)] for step in np.array(NEIGHBOURS)]
        agents.append(agent)
        labels.append(around.index(distance[tuple(agent)] - 1))
    goals = jnp.tile(jnp.asarray([5, 5]), (num_mazes, 1))
    return observe(jnp.asarray(walls), jnp.asarray(np.stack(agents)), goals), jnp.asarray(labels)


def test_values_that_spread_learn_the_way_to_the_goal_in_mazes_they_have_not_seen():
    network = make_actor_critic(grid_env((7, 7, 3)), None, "recurrent")
    observations, labels = imitation(1024, seed=1)
    unseen, expected = imitation(256, seed=2)
    params = jax.jit(network.init)(jax.random.key(0), observations[:1])
    optimizer = optax.adam(5e-3)

    def loss(params, index):
        policy, _ = network.apply(params, observations[index])
        return -policy.log_prob(labels[index]).mean()

    def step(carry, index):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, index), state)
        return (optax.apply_updates(params, updates), state), None

    index = jax.random.randint(jax.random.key(1), (200, 128), 0, 1024)
    params, _ = jax.jit(lambda start: jax.lax.scan(step, start, index)[0])((params, optimizer.init(params)))
    accuracy = (outputs(network, params, unseen)[:, :4].argmax(1) == expected).mean()
    assert accuracy > 0.95  # the best single action is right in about a third of them


@pytest.mark.parametrize(
    ("name", "shape", "config", "message"),
    [
        ("cnn", (31,), NetworkConfig(), r"needs a grid .* not an observation of shape \(31,\)"),
        ("recurrent", (9, 9), NetworkConfig(), r"needs a grid .* not an observation of shape \(9, 9\)"),
        ("cnn", (9, 9, 1), NetworkConfig(), r"with the agent in channel 1, not an .* shape \(9, 9, 1\)"),
        ("attention", (9, 9, 3), NetworkConfig(), "needs observations made of tokens"),
        ("cnn", (9, 9, 3), NetworkConfig(channels=0), "channels = 0 must be at least 1"),
        ("cnn", (9, 9, 3), NetworkConfig(num_blocks=0), "num_blocks = 0 must be at least 1"),
        ("recurrent", (9, 9, 3), NetworkConfig(num_maps=-1), "num_maps = -1 must be at least 0"),
        ("recurrent", (9, 9, 3), NetworkConfig(num_iterations=-1), "num_iterations = -1 must be at least 0"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name, shape, config, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_actor_critic(grid_env(shape), None, name, config)
    assert "\n" not in str(caught.value)


def test_a_grid_network_refuses_tokens():
    env = grid_env((9, 9, 3))
    env.observation_space = lambda params: spaces.Dict({})
    with pytest.raises(ValueError, match="not an observation made of tokens"):
        make_actor_critic(env, None, "cnn")
