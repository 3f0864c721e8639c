"""What of a summary, which someone else may have written, a report can use; the rest is left out by name."""

from collections.abc import Callable
from typing import Any

_LARGEST = 3.4e38


def usable(summary: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The entries that have the types that a report reads, and the names of those that have not."""
    wrong = [name for name, is_right in _ENTRIES.items() if name in summary and not is_right(summary[name])]
    return {name: value for name, value in summary.items() if name not in wrong}, wrong


def is_seed(value: Any) -> bool:
    """Whether a run can have this seed."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_item, value))


def _is_machine(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("cpu"), str | None)


def _is_alarm(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("alarm"))


def _is_evaluation(value: Any) -> bool:
    if not isinstance(value, dict):
        return True
    if isinstance(value.get("per_seed"), list):
        return all(each is None or _is_number(each) for each in value["per_seed"])
    return all(map(_is_evaluation, value.values()))


_ENTRIES: dict[str, Callable[[Any], bool]] = {
    "score": _is_evaluation,
    "seeds": _is_list_of(is_seed),
    "failed_seeds": _is_list_of(is_seed),
    "alarms": _is_list_of(_is_alarm),
    "machine": _is_machine,
    "device": _is_text,
    "jax": _is_text,
    "jaxlib": _is_text,
    "python": _is_text,
    "compile_seconds": _is_number,
    "train_seconds": _is_number,
    "steps_per_second": _is_number,
    "eval": _is_evaluation,
}
