"""Words for a person: sentences printed as they are, and commands that can be pasted into a shell.

Names of directories and environments are the user's, and may hold what rich takes for markup or a shell for
its own. So every sentence goes through `say`, and every command through `command`.
"""

import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text


def say(console: Console, sentence: str, style: str = "", *, wrap: bool = False) -> None:
    """Print a sentence as it is, on a line of its own: no markup, and line breaks only with `wrap`."""
    console.print(Text(sentence, style=style), highlight=False, soft_wrap=not wrap)


def warn(console: Console, sentence: str) -> None:
    """Print a warning."""
    say(console, f"warning: {sentence}", style="yellow")


def command(*words: str | Path) -> str:
    """A command line that a shell reads as these words."""
    return shlex.join(_word(word) for word in words)


def _word(word: str | Path) -> str:
    # A path that begins with a dash would be taken for an option.
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
