"""Where CPUs and GPUs part: in one module, by what a program is traced for."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from dry_runs import custom_calls

from purerl.compile import platforms
from purerl.networks.kernels.dense import matmul

ROOT = Path(__file__).parents[2]
SOURCES = [file for room in ("purerl", "envs", "experiments") for file in sorted((ROOT / room).rglob("*.py"))]
ASKS = {"default_backend", "with_layout_constraint", "Layout", "platform_dependent", "platform", "backend"}


def questions(file):
    """Names by which JAX tells, or is told, what a program runs on."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ASKS:
            if not (isinstance(node.value, ast.Name) and node.value.id in ("sys", "platform")):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jax"):
            yield from (alias.name for alias in node.names if alias.name in ASKS)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_one_module_alone_asks_for_the_platform(file):
    assert not set(questions(file)) or file == ROOT / "purerl" / "compile" / "platforms.py"


def test_a_program_is_traced_anew_for_another_platform():
    kernel, x = jnp.ones((3, 2)), jnp.ones((3, 4))
    product = jax.jit(matmul)  # cached, as one that has already run here
    here = product.trace(kernel, x).lower().as_text()
    with platforms.tracing_for("cuda"):
        there = product.trace(kernel, x).lower(lowering_platforms=("cuda",)).as_text()
    assert custom_calls(here) == {"LayoutConstraint"}
    assert custom_calls(there) == set()
    assert product.trace(kernel, x).lower().as_text() == here


def test_what_a_cpu_is_spared_and_a_gpu_is_not():
    assert platforms.seeds_side_by_side(8) == 1
    assert platforms.episodes_side_by_side(4) == 4
    assert platforms.episodes_side_by_side(1000) == 128
    assert platforms.devices_share_threads(2) and not platforms.devices_share_threads(1)
    assert [platforms.turns_samples(number) for number in (1, 64, 65)] == [True, True, False]
    with platforms.tracing_for("cuda"):
        assert platforms.seeds_side_by_side(8) == 8
        assert platforms.episodes_side_by_side(1000) == 1000
        assert not platforms.devices_share_threads(2)
        assert not platforms.takes_cpu_options()
        assert not platforms.turns_samples(1)


def test_a_free_number_of_samples_is_not_turned():
    (batch,) = jax.export.symbolic_shape("batch")
    assert not platforms.turns_samples(batch)
