"""Named alarms: what a person who knows the method would see in the numbers of a run.

An alarm depends on the lines of `metrics.jsonl` alone, so a resumed run tells the same alarms as one that
never stopped. An alarm is told when it begins, and again when it has ended: its fault has not been found for
a while, or not in the last chunk of the run.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from purerl.view.faults import Run
from purerl.view.rules import NOT_FINITE, RULES, Rule, section


class Alarm(NamedTuple):
    """What looks wrong.

    Attributes:
        name: two or three words, the same for the same fault.
        sentence: name, seeds, numbers, what to do, and where more is said about it.
    """

    name: str
    sentence: str


class Told(NamedTuple):
    """An alarm that was told.

    Attributes:
        chunk: after which it was told.
        env_steps: the same in environment steps.
        alarm: what was said.
        ended: environment steps after which the fault was not found any more; None while the alarm stands.
    """

    chunk: int
    env_steps: int
    alarm: Alarm
    ended: int | None = None


class Heard(NamedTuple):
    """What a line of metrics says.

    Attributes:
        sounding: alarms whose fault is in this line.
        new: those of them that are to be told now.
        over: alarms told earlier that are to be told as ended now.
    """

    sounding: list[Alarm]
    new: list[Alarm]
    over: list[Told]


class Watch:
    """Reads the lines of a run in their order.

    Attributes:
        told: alarms told so far, in their order.
    """

    def __init__(self, seeds: Sequence[int], num_chunks: int) -> None:
        self.told: list[Told] = []
        self._seeds = tuple(seeds)
        self._num_chunks = num_chunks
        self._lines: list[dict[str, np.ndarray]] = []
        self._standing: dict[str, int] = {}  # place in `told` by name
        self._quiet: dict[str, tuple[int, int]] = {}  # chunk and steps of the first line without the fault

    def add(self, line: dict[str, Any]) -> Heard:
        """Takes a line of `metrics.jsonl`."""
        self._lines.append({name: np.array(values, float) for name, values in line["metrics"].items()})
        run = Run(num_chunks=self._num_chunks, chunks=len(self._lines))
        healthy = ~np.isin(self._seeds, line["failed_seeds"])
        lost = [f"seed {seed} is {NOT_FINITE} and was left behind" for seed in line["failed_seeds"]]
        more = f". More: {section(NOT_FINITE)}"
        sounding = [Alarm(name=sentence, sentence=sentence + more) for sentence in lost]
        sounding += [alarm for rule in RULES if (alarm := self._apply(rule, run, healthy)) is not None]
        new = [alarm for alarm in sounding if alarm.name not in self._standing]
        over = self._end({alarm.name for alarm in sounding}, run, line["env_steps"])
        for alarm in new:
            self._standing[alarm.name] = len(self.told)
            self.told.append(Told(chunk=line["chunk"], env_steps=line["env_steps"], alarm=alarm))
        return Heard(sounding=sounding, new=new, over=over)

    def _end(self, sounding: set[str], run: Run, env_steps: int) -> list[Told]:
        """Ends alarms that have been quiet for a while, or are when the run ends."""
        over = []
        for name, place in list(self._standing.items()):
            if name in sounding:
                self._quiet.pop(name, None)
                continue
            since, steps = self._quiet.setdefault(name, (run.chunks, env_steps))
            if run.chunks - since + 1 >= run.lasting or run.chunks == run.num_chunks:
                self.told[place] = self.told[place]._replace(ended=steps)
                over.append(self.told[place])
                del self._standing[name], self._quiet[name]
        return over

    def _apply(self, rule: Rule, run: Run, healthy: np.ndarray) -> Alarm | None:
        if not all(name in self._lines[-1] for name in rule.metrics):
            return None
        values = [self._history(name) for name in (*rule.metrics, *rule.optional)]
        sounds, describe = rule.find(run, *values)
        concerned = np.flatnonzero(sounds & healthy)
        if not concerned.size:
            return None
        who, first = self._name_seeds(concerned), int(concerned[0])
        found = describe(first) + (self._worst_layer(rule.layers, first) if rule.layers else "")
        return Alarm(rule.name, f"{rule.name}{who}: {found}. {rule.advice} More: {rule.section}")

    def _worst_layer(self, name: str, seed: int) -> str:
        """The layer with the highest value of a metric in this chunk; nothing where layers are not told."""
        line = self._lines[-1]
        layers = {each: line[each][seed] for each in line if each.startswith(f"{name}/")}
        return f", most of it in {max(layers, key=layers.__getitem__).partition('/')[2]}" if layers else ""

    def _history(self, name: str) -> np.ndarray | None:
        """Values of a metric in all chunks so far, [C, S]; None where the run lacks it."""
        if name not in self._lines[-1]:
            return None
        return np.stack([line[name] for line in self._lines])

    def _name_seeds(self, concerned: np.ndarray) -> str:
        if len(self._seeds) == 1:
            return ""
        first = f" of seed {self._seeds[concerned[0]]}"
        return first if concerned.size == 1 else f"{first} and {concerned.size - 1} more"


def replay(lines: Sequence[dict[str, Any]], seeds: Sequence[int], num_chunks: int) -> Watch:
    """A watch that has read the lines of an earlier session."""
    watch = Watch(seeds, num_chunks)
    for line in lines:
        watch.add(line)
    return watch
