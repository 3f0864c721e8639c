"""Maze: find the way to the goal of a maze that is another one in each episode.

The author contract of gymnax 1.0, held structurally; see `envs.register_gymnax`.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from envs.maze import observations, params
from envs.maze.generate import STYLES
from envs.maze.levels import Layout, training_layouts
from envs.maze.params import MazeParams, default_limit
from envs.maze.rewards import novelty_bonus, plain_reward, shaping
from envs.maze.state import MazeState, move, remember
from purerl import spaces

OBSERVATIONS = ("grid", "patch")


@dataclass(frozen=True)
class Maze:
    """The maze; what it holds decides shapes and code, every number is in `MazeParams`.

    Attributes:
        size: side N of the grid, odd, at least 5.
        style: how mazes are carved: `dfs`, `wilson` or `rooms`.
        observation: `grid` or `patch`.
        trace: True shows the cells visited in this episode.
        patch_size: side k of the window, odd, at most 2 N - 1, from which everything is seen always.
        num_positions: m, how many earlier positions a patch shows.
        track_distances: True holds the distance of each cell to the goal, which shaping needs.
        track_visits: True counts the visits of each cell in an episode, which the bonus for novelty needs.
    """

    size: int = 9
    style: str = "dfs"
    observation: str = "grid"
    trace: bool = False
    patch_size: int = 5
    num_positions: int = 0
    track_distances: bool = False
    track_visits: bool = False

    def __post_init__(self) -> None:
        if self.size < 5 or self.size % 2 == 0:
            nearest = max(5, self.size + 1 - self.size % 2)
            raise ValueError(f"size = {self.size} must be odd and at least 5; try {nearest}")
        if self.style not in STYLES:
            raise ValueError(f"style = {self.style!r} is not one of {tuple(STYLES)}")
        if self.observation not in OBSERVATIONS:
            raise ValueError(f"observation = {self.observation!r} is not one of {OBSERVATIONS}")
        if self.patch_size < 1 or self.patch_size % 2 == 0:
            nearest = max(1, self.patch_size + 1 - self.patch_size % 2)
            raise ValueError(f"patch_size = {self.patch_size} must be odd and at least 1; try {nearest}")
        if self.patch_size > 2 * self.size - 1:
            raise ValueError(
                f"patch_size = {self.patch_size} is larger than useful: one of {2 * self.size - 1} "
                f"= 2 * {self.size} - 1 sees every cell from everywhere; try that at most"
            )
        if self.num_positions < 0:
            raise ValueError(f"num_positions = {self.num_positions} must be >= 0")
        if self.num_positions and self.observation != "patch":
            raise ValueError(
                f"num_positions = {self.num_positions} has no place in the observation "
                f'{self.observation!r}; try observation = "patch", or trace = True'
            )

    @property
    def name(self) -> str:
        """Name of the environment."""
        return "Maze-v0"

    @property
    def num_actions(self) -> int:
        """Up, down, left, right."""
        return 4

    @property
    def default_params(self) -> MazeParams:
        """The default numbers."""
        return MazeParams(max_steps_in_episode=default_limit(self.size))

    def check(self, params_: MazeParams) -> None:
        """Raises ValueError, on the host, for parameters that cannot be meant."""
        params.check(self, params_)

    def action_space(self, params: MazeParams | None = None) -> spaces.Discrete:
        """What `step_env` takes: 0 to 3 are up, down, left and right."""
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: MazeParams | None = None) -> spaces.Box:
        """What `observe_state` gives."""
        if self.observation == "grid":
            return observations.grid_space(self.size, self.trace)
        return observations.patch_space(self.patch_size, self.trace, self.num_positions)

    def observe_state(self, state: MazeState, params: MazeParams) -> jax.Array:
        """What the agent sees of a state, in the form that `observation` names."""
        if self.observation == "grid":
            return observations.grid(state)
        return observations.patch(state, self.patch_size)

    def get_obs(self, state: MazeState, params: MazeParams, key: jax.Array | None = None) -> jax.Array:
        """`observe_state` under the name that gymnax gave it first."""
        return self.observe_state(state, params)

    def is_truncated(self, state: MazeState, params: MazeParams) -> jax.Array:
        """True where the time limit cuts the episode: bool []."""
        return state.time >= params.max_steps_in_episode

    def start(self, layout: Layout, params: MazeParams) -> MazeState:
        """The state at the start of an episode in a given maze, a `Layout` without batch axes."""
        if self.observation == "grid":
            scene = observations.grid_scene(layout, self.trace)
        else:
            scene = observations.patch_scene(layout, self.patch_size, self.trace)
        visits = jnp.zeros((self.size, self.size), jnp.int32).at[layout.start[0], layout.start[1]].set(1)
        return MazeState(
            walls=layout.walls,
            goal=layout.goal,
            agent=layout.start,
            time=jnp.zeros((), jnp.int32),
            shortest=layout.shortest,
            scene=scene,
            visits=visits if self.track_visits else None,
            earlier=jnp.full((self.num_positions, 2), -1, jnp.int32) if self.num_positions else None,
            distances=layout.distance_map if self.track_distances else None,
        )

    def reset_env(self, key: jax.Array, params: MazeParams) -> tuple[jax.Array, MazeState]:
        """Draws a maze and starts an episode in it.

        Args:
            key: `jax.random.key`.
            params: the maze's parameters.

        Returns:
            The observation and the state.
        """
        difficulty = jnp.asarray(params.difficulty, jnp.float32)[None]
        distance = jnp.asarray(params.distance, jnp.float32)[None]
        layouts = training_layouts(key, self.size, self.style, difficulty, distance, params.random_goal)
        begun = self.start(jax.tree.map(lambda leaf: leaf[0], layouts), params)
        return self.observe_state(begun, params), begun

    def step_env(
        self, key: jax.Array, state: MazeState, action: jax.Array, params: MazeParams
    ) -> tuple[jax.Array, MazeState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Moves the agent by one cell, where no wall stops it.

        Args:
            key: unused: nothing is random in a step.
            state: before the step.
            action: int32 [], 0 to 3 for up, down, left and right.
            params: the maze's parameters.

        Returns:
            The observation, the state, the reward (float32 []), whether the goal was reached (bool []), and
            `solved` (the same, bool []), `optimality` (length of a shortest path over steps taken where
            solved, else 0, float32 []) and `unshaped_reward` (without shaping and novelty, float32 []).
        """
        agent = move(state, action)
        after = dataclasses.replace(
            state,
            agent=agent,
            time=state.time + 1,
            scene=observations.with_trace(state, agent) if self.trace else state.scene,
            **remember(state, agent),
        )
        reached = jnp.all(agent == state.goal)
        unshaped = plain_reward(after, reached, params)
        reward = unshaped + shaping(state, after, reached, params) + novelty_bonus(after, params)
        ratio = state.shortest.astype(jnp.float32) / after.time.astype(jnp.float32)
        info = {
            "solved": reached,
            "optimality": jnp.where(reached, ratio, 0.0),
            "unshaped_reward": unshaped,
        }
        return self.observe_state(after, params), after, reward, reached, info


@dataclass(frozen=True)
class MazePatch(Maze):
    """A maze of which only what lies around the agent is seen."""

    observation: str = "patch"
