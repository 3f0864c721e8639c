"""Command lines made by chance: real options, with values that are right, wrong, huge or no value at all."""

import dataclasses
import random
import typing
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
EXPERIMENTS = sorted(
    file
    for file in (ROOT / "experiments").glob("*.py")
    if "\nclass Config(" in file.read_text() and file.stem != "ppo_ant"
)
WORDS = (
    "-1", "0", "1", "2", "3", "4", "5", "8", "9", "16", "64", "1000", "0.1", "0.9", "1", "2",
    "0.5", "-0.5", "1.5", "1e-3", "inf", "-inf", "nan", "1e39", "-1e39",
    "1e-50", "1e400", "2147483647", "2147483648", "-2147483649", "99999999999", "-99999999999", "1e15",
    "4294967295", "4294967296", "18446744073709551616", "9" * 400, "9" * 5000, "1_000", "0x10", "", " ", "x",
    "None", "True", "a\0b", "a" * 300, "a" * 5000, "a/" * 2500, "\udcff", "\x1b[31m", "π", "$x$", "[bold]",
    "--", "-", "1e19", "/dev/null", "/proc/new", "../..", "0 0 0 1", "1 2 3", "{}", "*",
)  # fmt: skip
ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1", "Maze-v0", "Bikkle-v0", "RepeatPrevious", "brax/nope", "nope")
RANGES = (
    "log:1e-4:1e-2", "log:1e-4:1e-2:3", "uniform:0:1", "uniform:0.9:0.99:2", "uniform:1:0", "log:0:1",
    "uniform:-inf:inf", "uniform:nan:1", "uniform:0:1:1000000000000", "log:1:2:-3", "log:1:2:3:4", "log:1",
    "uniform:-1e308:1e308", "uniform:0:1e39", ",", "1,", ",,,", "1,2", "0.5,0.9", "2,4", "a,b", "x:y", ":",
    "", "True,False", "0.9 --seed 3,0.5", "--help", "inf,nan", "0,0", "99999999999,1", "mlp,attention",
)  # fmt: skip


def options_of(options_class, prefix=""):
    """Names of all options, and the words that their types name; "flag" for those without a value."""
    hints = typing.get_type_hints(options_class)
    default = options_class()
    for field in dataclasses.fields(options_class):
        name, value = prefix + field.name.replace("_", "-"), getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            yield from options_of(type(value), f"{name}.")
        elif isinstance(value, bool):
            yield name, ("flag",)
        else:
            yield name, tuple(map(str, typing.get_args(hints[field.name])))


class Fuzzer:
    """What is drawn depends on the seed alone."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.known = {}

    def line(self, options_class, runs):
        """Options of a command with 0 to 4 of them given.

        Args:
            options_class: its options.
            runs: directories to resume, or to evaluate.
        """
        names = self.known.setdefault(options_class, list(options_of(options_class)))
        tokens = []
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 2, 3, 4)) if names else 0):
            name, words = self.random.choice(names)
            tokens += self.option(name, words)
        if self.random.random() < 0.08:
            tokens += [
                self.random.choice(("--resume", "--eval-only")),
                str(self.random.choice((*runs, *WORDS))),
            ]
        if self.random.random() < 0.04:
            shell = self.random.choice(("bash", "csh", "", "x" * 5000))
            tokens = ["--tyro-print-completion", shell, *tokens]
        if self.random.random() < 0.04:
            tokens.insert(self.random.randrange(len(tokens) + 1), self.random.choice(WORDS))
        return tokens

    def option(self, name, words):
        """An option with a value."""
        if self.random.random() < 0.04:
            name = name[:-1] or "x"
        if "flag" in words and self.random.random() < 0.8:
            group, _, last = name.rpartition(".")
            negative = f"--{group}.no-{last}" if group else f"--no-{last}"
            return [self.random.choice((f"--{name}", negative))]
        if name == "env" and self.random.random() < 0.7:
            return ["--env", self.random.choice(ENVIRONMENTS)]
        pool = words if words and self.random.random() < 0.3 else WORDS
        value = self.random.choice(pool)
        many = value.split() if " " in value and value.strip() else [value]
        return [f"--{name}={value}"] if self.random.random() < 0.2 else [f"--{name}", *many]

    def space(self, options_class):
        """What a sweep varies: 0 to 3 options."""
        names = self.known.setdefault(options_class, list(options_of(options_class)))
        tokens = []
        for _ in range(self.random.randrange(4)):
            name, words = self.random.choice((*names, ("ppo.gamma", ()), ("ppo.learning-rate", ())))
            values = self.random.choice(RANGES)
            if words and self.random.random() < 0.3:
                values = ",".join(words)
            tokens += [f"--sweep.{name}", values]
        return tokens
