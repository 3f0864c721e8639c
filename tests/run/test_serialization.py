"""Configurations survive JSON exactly."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl.host import serialization
from purerl.host.errors import UserError


@struct.dataclass
class Inner:
    rate: float = 0.1
    num_envs: int = struct.field(default=4, pytree_node=False)
    anything: Any = None


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    flag: bool = False
    path: Path | None = None
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    inner: Inner = field(default_factory=Inner)
    several: tuple[Inner, ...] = ()


def through_json(value, hint):
    return serialization.decode(json.loads(json.dumps(serialization.encode(value), allow_nan=False)), hint)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(Path("a/b")),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), inner)
    ),
    max_leaves=8,
)
inners = st.builds(Inner, rate=st.floats(allow_nan=False), num_envs=st.integers(), anything=anything)
outers = st.builds(
    Outer,
    name=st.text(),
    flag=st.booleans(),
    path=st.none() | st.just(Path("/tmp/run")),
    kind=st.sampled_from(["a", "b"]),
    sizes=st.lists(st.integers()).map(tuple),
    inner=inners,
    several=st.lists(inners, max_size=2).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(outers)
def test_a_configuration_comes_back_equal_and_of_the_same_types(config):
    restored = through_json(config, Outer)
    assert restored == config
    assert repr(restored) == repr(config)


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool", "bfloat16"])
def test_arrays_keep_their_type_shape_and_bits(dtype):
    array = np.asarray(jnp.array([[0.1, 1.0, 0.0]], dtype))
    restored = through_json(Inner(anything=array), Inner).anything
    assert (restored.dtype, restored.shape) == (array.dtype, array.shape)
    assert restored.tobytes() == array.tobytes()


def test_infinities_and_nan_survive():
    restored = through_json([float("inf"), -float("inf"), float("nan"), -0.0], Any)
    assert [repr(value) for value in restored] == ["inf", "-inf", "nan", "-0.0"]


def test_what_has_no_exact_form_is_refused():
    with pytest.raises(TypeError, match="cannot hold function"):
        serialization.encode(lambda: None)


def test_unknown_and_missing_keys_are_named():
    saved = serialization.encode(Outer())
    saved["inner"]["momentum"] = saved["inner"].pop("rate")
    with pytest.raises(UserError, match=r"Inner: unknown inner.momentum; missing inner.rate"):
        serialization.decode(saved, Outer)


def test_a_difference_is_spelled_out_and_the_digest_sees_it():
    one, other = serialization.encode(Outer()), serialization.encode(Outer(inner=Inner(rate=0.2)))
    assert serialization.difference(one, other) == ["inner.rate: saved 0.1, now 0.2"]
    assert serialization.difference(one, dict(reversed(one.items()))) == []
    assert serialization.digest(one) == serialization.digest(dict(reversed(one.items())))
    assert serialization.digest(one) != serialization.digest(other)
