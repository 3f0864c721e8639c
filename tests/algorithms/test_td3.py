"""TD3 as worked arithmetic, and on probes whose answer is known."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from probes import ActionFollowsCue, Probe

from purerl import spaces
from purerl.algorithms.off_policy import Round, flatten, unflatten
from purerl.algorithms.skeleton import adam
from purerl.algorithms.td3 import TD3Config, act, init, learn, make_td3, policy_loss, td3_loss, td3_target
from purerl.compile.program import sweep
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.replay import Sample

NETWORK = SoftNetworkConfig(width=16, head_width=0, activation="tanh")
CONFIG = TD3Config(
    num_envs=8,
    num_steps=16,
    num_gradient_steps=4,
    batch_size=32,
    buffer_size=2048,
    warmup_steps=64,
    learning_rate=1e-2,
    final_learning_rate=1e-2,
    gamma=0.5,
    tau=0.05,
    exploration_noise=0.3,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(3))
CUES = jnp.array([[1.0, 1.0], [-1.0, 1.0]])


@struct.dataclass
class Rules:
    """What is rewarded and how an episode ends, as data: one compiled program serves all tests."""

    bonus: float = 0.0
    price: float = 0.0
    ends_after: int = 1
    terminates: bool = True


class Choice(Probe):
    """One number a as an action; reward bonus - price * (a - cue / 2)^2."""

    @property
    def default_params(self):
        return Rules()

    def step_env(self, key, state, action, params):
        reward = params.bonus - params.price * jnp.square(action[0] - 0.5 * state.cue)
        state = state.replace(time=state.time + 1)
        ended = (state.time >= params.ends_after) & params.terminates
        return self._observe(state), state, reward, ended, {}

    def is_truncated(self, state, params):
        return (state.time >= params.ends_after) & jnp.logical_not(params.terminates)

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))


def network_of(env):
    return make_soft_actor_critic(env, env.default_params, "mlp", NETWORK)


@cache
def trainer():
    algorithm = make_td3(Choice(), network_of(Choice()))
    return jax.jit(lambda config: sweep(algorithm, config, SEEDS, 30))


def trained(params, **changes):
    """Learners of three seeds."""
    config = CONFIG.replace(env_params=params, **changes)
    return trainer()(jax.tree.map(jnp.asarray, config))[0].learner


def apply(learner, function):
    return jax.vmap(lambda params: function(network_of(Choice()), params))(learner.params)


def values(network, params):
    features = network.apply(params, CUES, method="features")
    return network.apply(params, features, jnp.zeros((2, 1)), method="values")


def test_the_policy_learns_where_to_go():
    found = apply(
        trained(Rules(price=1.0)), lambda network, params: network.apply(params, CUES, method="policy").mode()
    )
    np.testing.assert_allclose(found[..., 0], np.tile([0.5, -0.5], (3, 1)), atol=0.1)


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.0), (False, 2.0)])
def test_truncation_bootstraps_and_termination_does_not(terminates, expected):
    # Reward 1, gamma 0.5: ended by the rules 1, cut by a limit 1 + 0.5 + 0.25 + ... = 2.
    found = apply(trained(Rules(bonus=1.0, terminates=terminates)), values)
    np.testing.assert_allclose(found, expected, atol=0.1)


class FixedPolicy:
    def __init__(self, action):
        self.action = action

    def mode(self):
        return self.action


class FixedNetwork:
    """Two critics, Q_k(s, a) = q_k + a, and a policy that always does p; the parameters are q and p."""

    discrete = False
    action_size = 1

    def apply(self, params, *inputs, method):
        if method == "policy":
            return FixedPolicy(jnp.broadcast_to(params[2], (inputs[0].shape[0], 1)))
        return inputs[0] if method == "features" else params[:2, None] + inputs[1][:, 0]


def sample(discount):
    count = len(discount)
    return Sample(
        observation=jnp.zeros((count, 2)),
        action=jnp.full((count, 1), 0.25),
        reward=jnp.ones(count),
        discount=jnp.array(discount),
        next_observation=jnp.zeros((count, 2)),
    )


def test_targets_losses_and_gradients_as_worked_by_hand():
    # The target policy does 0.5. Noise: 0.2 * 1 = 0.2; 0.2 * 4 = 0.8, of which 0.4 is left, and of 0.9 the
    # end of the range, 0.8 having been the way to it: 0.7, 0.9. Of critics 2 and 3 the lesser: 2.7, 2.9.
    # Targets 1 + 0.5 * 2.7 = 2.35 and 1 + 0.5 * 2.9 = 2.45; where nothing follows 1.
    config = CONFIG.replace(target_noise=0.2, target_noise_clip=0.4)
    batch, noise = sample([0.5, 0.5, 0.0]), jnp.array([[1.0], [4.0], [jnp.nan]])
    target = td3_target(FixedNetwork(), jnp.array([2.0, 3.0, 0.5]), batch, noise, config)
    np.testing.assert_allclose(target, [2.35, 2.45, 1.0], rtol=1e-6)
    # At the end of the range, 1, noise of 0.4 leads no further: 1 + 0.5 * (2 + 1) = 2.5.
    at_the_end = td3_target(FixedNetwork(), jnp.array([2.0, 3.0, 1.0]), sample([0.5]), noise[1:2], config)
    np.testing.assert_allclose(at_the_end, [2.5], rtol=1e-6)
    # Critics 1 and 4 at a = 0.25 are 1.25 and 4.25: errors -1.1 and 1.9 from 2.35, their mean size 1.5.
    params, one = jnp.array([1.0, 4.0, 0.5]), sample([0.5])
    loss = lambda params: td3_loss(FixedNetwork(), params, target[:1], one, jnp.ones(1), config)  # noqa: E731
    (value, (error, _)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    np.testing.assert_allclose(value, 0.5 * (1.1**2 + 1.9**2), rtol=1e-5)
    np.testing.assert_allclose(error, [1.5], rtol=1e-5)
    np.testing.assert_allclose(gradient, [-1.1, 1.9, 0.0], rtol=1e-5)
    # The policy ascends the first critic alone, 1 + 0.5, and gives it no gradient.
    of_policy = lambda params: policy_loss(FixedNetwork(), params, one, config)  # noqa: E731
    (value, _), gradient = jax.value_and_grad(of_policy, has_aux=True)(params)
    np.testing.assert_allclose(value, -1.5)
    np.testing.assert_allclose(gradient, [0.0, 0.0, -1.0])


def test_the_policy_and_the_target_network_wait_for_the_critics():
    # Rounds of one gradient step, policy_every = 3: the third round alone moves them, the target by a half.
    network, config = (
        network_of(Choice()),
        CONFIG.replace(num_gradient_steps=1, policy_every=3, tau=0.5),
    )
    samples = Sample(CUES, jnp.zeros((2, 1)), jnp.ones(2), jnp.zeros(2), CUES)
    optimizer = adam(config, 0.01)
    start = init(network, jax.random.key(0), CUES, optimizer, config)

    @jax.jit
    def step(learner, key):
        flat, unravel = flatten(learner)
        given = Round(samples, jnp.ones(2), key, optimizer, unravel, None)
        return unflatten(learn(network, flat, given, config)[0], unravel)

    learner, moved = start, []
    for number in range(3):
        before, learner = learner, step(learner, jax.random.key(number))
        parts = {
            name: learner.params["params"][name]
            for name in ("actor_hidden", "actor_out", "actor_encoder")
            if name in learner.params["params"]
        }
        same = lambda a, b: bool((a == b).all())  # noqa: E731
        of_policy = [jax.tree.map(same, part, before.params["params"][name]) for name, part in parts.items()]
        of_target = jax.tree.map(same, learner.target_params, before.target_params)
        of_critic = jax.tree.map(
            same, learner.params["params"]["critic_heads_0"], before.params["params"]["critic_heads_0"]
        )
        moved.append([not all(jax.tree.leaves(each)) for each in (of_policy, of_target, of_critic)])
    assert moved == [[False, False, True], [False, False, True], [True, True, True]]
    halfway = jax.tree.map(lambda a, b: 0.5 * (a + b), start.params, learner.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), learner.target_params, halfway)


def test_acting_adds_noise_within_the_range_and_is_random_before_it_knows():
    # The policy does 0.5; noise of 0.3 * 1 leads to 0.8, of 0.3 * 3 to 1.4, which is out of range: 1.
    learner = init(network_of(Choice()), jax.random.key(0), CUES, adam(CONFIG, 0.01), CONFIG).replace(
        params=jnp.array([0.0, 0.0, 0.5])
    )
    chance = jnp.array([[1.0], [3.0]]), jnp.array([[-0.7], [0.1]])
    doing = [act(FixedNetwork(), learner, CUES, chance, knows, CONFIG)[0] for knows in (True, False)]
    np.testing.assert_allclose(doing, [[[0.8], [1.0]], [[-0.7], [0.1]]], rtol=1e-6)


def test_choices_are_refused():
    env = ActionFollowsCue(num_actions=2)
    with pytest.raises(ValueError, match="TD3 needs continuous actions"):
        make_td3(env, network_of(env))
