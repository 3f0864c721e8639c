"""Options that reach nothing under the others are refused before anything is trained with them."""

from collections.abc import Mapping, Sequence

from purerl.compile.reach import reach
from purerl.host.errors import UserError
from purerl.sweep.settings import Member, is_leaf


def check_explored(members: Sequence[Member], leaves: Mapping[str, str]) -> None:
    """Raises UserError where a population explores what its updates do not read.

    Args:
        members: of the population.
        leaves: options by path of their leaf.
    """
    found = reach(members[0].experiment.algorithm, members[0].experiment.algorithm_config)
    for path, name in leaves.items():
        if path not in found.learns:
            why = "is read at the beginning alone" if path in found.begins else "reaches nothing"
            raise UserError(
                f"--sweep.{name} {why} under the other options, so changes of it do nothing; "
                "change these, or leave it out"
            )


def check_swept(buckets: Sequence[Sequence[Member]]) -> None:
    """Raises UserError where a sweep varies a number that no run of it reads.

    Args:
        buckets: members by the program that trains them.
    """
    first = buckets[0][0]
    options = {name: name.rpartition(".")[2] for name in first.setting if is_leaf(first, name)}
    if not options:
        return
    read: set[str] = set()
    for bucket in buckets:
        found = reach(bucket[0].experiment.algorithm, bucket[0].experiment.algorithm_config)
        read |= found.begins | found.learns
        if read.issuperset(options.values()):
            return
    for name, path in options.items():
        if path not in read:
            raise UserError(
                f"--sweep.{name} reaches nothing under the other options, so all its values are the same; "
                "change these, or leave it out"
            )
