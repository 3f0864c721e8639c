"""Balance a pole on a cart without seeing how fast either moves.

The dynamics of Barto, Sutton and Anderson 1983, integrated by Euler's method in steps of 20 ms; velocities
hidden, and the reward scaled to a return of at most 1, as in POPGym (Morad et al. 2023, arXiv:2303.01859).
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from purerl import ranges, spaces
from purerl.ranges import Count, Number, Positive


@struct.dataclass
class CartPoleParams:
    """What may be traced and swept; lengths in meters, masses in kilograms, forces in newtons.

    Attributes:
        gravity: in m / s^2.
        cart_mass: of the cart.
        pole_mass: of the pole.
        half_length: from the hinge to the middle of the pole.
        force: with which an action pushes.
        time_step: in seconds.
        largest_angle: in radians; beyond it the pole has fallen.
        largest_offset: beyond it the cart has left the track.
        max_steps_in_episode: steps after which the episode is cut.
    """

    gravity: Number = 9.8
    cart_mass: Positive = 1.0
    pole_mass: Positive = 0.1
    half_length: Positive = 0.5
    force: Number = 10.0
    time_step: Positive = 0.02
    largest_angle: Positive = 12 * math.pi / 180
    largest_offset: Positive = 2.4
    max_steps_in_episode: Count = 200


@struct.dataclass
class CartPoleState:
    """State of one episode, float32 [] each but the last.

    Attributes:
        offset: of the cart from the middle of the track.
        speed: of the cart.
        angle: of the pole from upright.
        spin: angular speed of the pole.
        time: steps since the episode began, int32 [].
    """

    offset: jax.Array
    speed: jax.Array
    angle: jax.Array
    spin: jax.Array
    time: jax.Array


@dataclass(frozen=True)
class StatelessCartPole:
    """Push to the left or to the right; each step that begins upright is worth 1 / T, T the time limit."""

    @property
    def name(self) -> str:
        """Name of the environment."""
        return "StatelessCartPole"

    @property
    def num_actions(self) -> int:
        """Left and right."""
        return 2

    @property
    def default_params(self) -> CartPoleParams:
        """Episodes of 200 steps."""
        return CartPoleParams()

    def check(self, params: CartPoleParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(params)

    def action_space(self, params: CartPoleParams | None = None) -> spaces.Discrete:
        """Left and right."""
        return spaces.Discrete(2)

    def observation_space(self, params: CartPoleParams | None = None) -> spaces.Box:
        """Offset and angle, each 1 where the episode ends; the last step may lead a little beyond."""
        return spaces.Box(-2.0, 2.0, (2,))

    def observe_state(self, state: CartPoleState, params: CartPoleParams) -> jax.Array:
        """What the agent sees of a state: float32 [2]."""
        return jnp.stack([state.offset / params.largest_offset, state.angle / params.largest_angle])

    def is_truncated(self, state: CartPoleState, params: CartPoleParams) -> jax.Array:
        """True where the time limit cuts the episode: bool []."""
        return state.time >= params.max_steps_in_episode

    def reset_env(self, key: jax.Array, params: CartPoleParams) -> tuple[jax.Array, CartPoleState]:
        """Draws a state near rest: observation and state."""
        start = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        state = CartPoleState(
            offset=start[0], speed=start[1], angle=start[2], spin=start[3], time=jnp.zeros((), jnp.int32)
        )
        return self.observe_state(state, params), state

    def step_env(
        self, key: jax.Array, state: CartPoleState, action: jax.Array, params: CartPoleParams
    ) -> tuple[jax.Array, CartPoleState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Pushes the cart: observation, state, reward, terminated and info."""
        p, sine, cosine = params, jnp.sin(state.angle), jnp.cos(state.angle)
        mass = p.cart_mass + p.pole_mass
        push = jnp.where(action == 1, p.force, -p.force)
        push = (push + p.pole_mass * p.half_length * jnp.square(state.spin) * sine) / mass
        inertia = p.half_length * (4.0 / 3.0 - p.pole_mass * jnp.square(cosine) / mass)
        twist = (p.gravity * sine - cosine * push) / inertia
        pull = push - p.pole_mass * p.half_length * twist * cosine / mass
        after = CartPoleState(
            offset=state.offset + p.time_step * state.speed,
            speed=state.speed + p.time_step * pull,
            angle=state.angle + p.time_step * state.spin,
            spin=state.spin + p.time_step * twist,
            time=state.time + 1,
        )
        fallen = (jnp.abs(after.offset) > p.largest_offset) | (jnp.abs(after.angle) > p.largest_angle)
        reward = jnp.ones(()) / p.max_steps_in_episode
        return self.observe_state(after, params), after, reward, fallen, {}
