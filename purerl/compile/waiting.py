"""Operations that wait for the threads of XLA while they hold one: not for several devices that are cores.

All devices that are cores compute on one pool of threads. A routine of LAPACK shares a batch among them and
waits for its parts in a thread of the pool; when every thread waits so, for parts that no thread is left to
compute, the program never ends. One device alone is safe.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from purerl.compile.platforms import on_cpu
from purerl.types import PyTree

LINEAR_ALGEBRA = frozenset({
    "cholesky", "cholesky_update", "eig", "eigh", "geqp3", "geqrf", "hessenberg", "householder_product", "lu",
    "ormqr", "qr", "schur", "svd", "symmetric_product", "triangular_solve", "tridiagonal",
    "tridiagonal_solve",
})  # fmt: skip
"""Primitives of `jax.lax.linalg`, which are routines of LAPACK and BLAS on a CPU."""


def waiting_operations(*jaxprs: Any) -> list[str]:
    """Names of the operations in programs that wait for XLA's threads on a CPU, each once, in order.

    Args:
        *jaxprs: programs, with those within them: bodies of loops, branches, calls.
    """
    names = (equation.primitive.name for jaxpr in jaxprs for equation in _equations(jaxpr))
    return sorted(LINEAR_ALGEBRA.intersection(names))


def safe(devices: Sequence[jax.Device], *jaxprs: Any) -> bool:
    """Whether programs come to their end on these devices, whichever thread is first."""
    return len(devices) == 1 or not on_cpu() or not waiting_operations(*jaxprs)


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for inner in _programs(tuple(equation.params.values())):
            yield from _equations(inner)


def _programs(tree: PyTree) -> Iterator[Any]:
    for each in tree:
        if isinstance(each, tuple | list):
            yield from _programs(each)
        elif hasattr(each, "eqns") or hasattr(each, "jaxpr"):
            yield each
