"""Errors that end a run with one clear line instead of a traceback."""


class UserError(Exception):
    """What was asked for cannot be done: the message says what is wrong and what would be right.

    Attributes:
        exit_code: what the process ends with.
    """

    exit_code = 2


class TrainingError(UserError):
    """A run that was asked for correctly could not go on: a NaN, a full disk."""

    exit_code = 1


class Interrupted(UserError):
    """The run was stopped from outside; the message says how to go on."""

    exit_code = 130


def one_line(text: object) -> str:
    """Any message or exception as a single line; one that is a single line already stays as it is."""
    reason = str(text.strerror if isinstance(text, OSError) and text.strerror else text)
    return " ".join(reason.split()) if len(reason.strip().splitlines()) > 1 else reason.strip()
