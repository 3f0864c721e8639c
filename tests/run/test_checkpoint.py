"""Checkpoints are whole or not there, and come back bit by bit."""

import errno
import json
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from purerl.host import files
from purerl.host.errors import TrainingError, UserError
from purerl.run import checkpoint


class Moments(NamedTuple):
    mean: jax.Array
    count: jax.Array


def example_state(width=5):
    return {
        "key": jax.random.split(jax.random.key(3), 2),
        "other_key": jax.random.key(4, impl="rbg")[None],
        "moments": Moments(mean=jnp.linspace(0, 1, width), count=jnp.array([2**31 - 1], jnp.int32)),
        "half": jnp.array([1.5, -0.0], jnp.bfloat16),
        "flags": jnp.array([[True], [False]]),
        "none": jnp.zeros((2, 0)),
        "nothing": (),
    }


def save(directory, state, chunk, keep=2):
    return checkpoint.save(
        directory,
        checkpoint.snapshot(state),
        architecture=checkpoint.describe(state),
        chunk=chunk,
        config={"a": 1},
        keep=keep,
    )


def shapes(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def newest(directory):
    warnings = []
    return checkpoint.latest(directory, warnings.append), warnings


def test_every_kind_of_leaf_comes_back_bit_by_bit(tmp_path):
    state = example_state()
    save(tmp_path, state, chunk=1)
    restored = checkpoint.restore(newest(tmp_path)[0], shapes(state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert one.dtype == other.dtype
    pairs = zip(*map(jax.tree.leaves, map(checkpoint.snapshot, (restored, state))), strict=True)
    for one, other in pairs:
        assert one.tobytes() == other.tobytes()


def test_sharded_arrays_and_keys_go_back_to_their_devices(tmp_path):
    if len(jax.devices()) < 2:
        pytest.skip("needs two devices")
    mesh = Mesh(np.array(jax.devices()[:2]), ("devices",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ([None, "devices"], []))
    state = {
        "environments": jax.device_put(jnp.arange(12.0).reshape(2, 6), split),
        "keys": jax.device_put(jax.random.split(jax.random.key(0), 2), whole),
    }
    save(tmp_path, state, chunk=1)
    restored = checkpoint.restore(newest(tmp_path)[0], shapes(state))
    assert restored["environments"].sharding == split
    assert restored["keys"].sharding.is_equivalent_to(whole, 1)
    np.testing.assert_array_equal(restored["environments"], state["environments"])


def test_a_snapshot_outlives_the_donation_of_its_state():
    state = {"x": jnp.zeros(1000)}
    host = checkpoint.snapshot(state)
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    for _ in range(5):
        state = add(state)
    assert not host["x"].any()


def test_a_restored_state_can_be_donated_without_touching_what_was_read(tmp_path):
    state = {"x": jnp.zeros(1000)}
    expected = shapes(state)
    save(tmp_path, state, chunk=1)
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    for _ in range(2):
        np.testing.assert_array_equal(add(checkpoint.restore(newest(tmp_path)[0], expected))["x"], 1)


def test_only_the_newest_ones_stay(tmp_path):
    for chunk in (1, 2, 10):
        save(tmp_path, {"x": jnp.ones(3)}, chunk)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chunk-00000002", "chunk-00000010"]
    assert newest(tmp_path)[0].chunk == 10


def largest_file(path):
    return max((path / "arrays").rglob("*"), key=lambda file: file.is_file() and file.stat().st_size)


def flip_a_byte(path):
    content = bytearray(largest_file(path).read_bytes())
    content[len(content) // 2] ^= 1
    largest_file(path).write_bytes(content)


def cut_a_file(path):
    os.truncate(largest_file(path), largest_file(path).stat().st_size // 2)


def lose_a_file(path):
    largest_file(path).unlink()


def lose_the_manifest(path):
    (path / "manifest.json").unlink()


def empty_the_manifest(path):
    (path / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    "harm", [flip_a_byte, cut_a_file, lose_a_file, lose_the_manifest, empty_the_manifest]
)
def test_a_damaged_checkpoint_is_named_and_skipped(tmp_path, harm):
    for chunk in (1, 2):
        save(tmp_path, {"x": jnp.full(4000, chunk, jnp.float32)}, chunk)
    harm(tmp_path / "chunk-00000002")
    found, warnings = newest(tmp_path)
    assert found.chunk == 1
    assert len(warnings) == 1 and "damaged checkpoint chunk-00000002" in warnings[0]


def test_a_half_written_checkpoint_is_named_skipped_and_cleared_by_the_next(tmp_path):
    save(tmp_path, {"x": jnp.ones(3)}, 1)
    (tmp_path / ".writing-chunk-00000002" / "arrays").mkdir(parents=True)
    found, warnings = newest(tmp_path)
    assert found.chunk == 1
    assert warnings == ["skipped the half-written checkpoint chunk-00000002"]
    save(tmp_path, {"x": jnp.ones(3)}, 3)
    assert newest(tmp_path)[1] == []


def test_another_architecture_is_refused_with_the_difference(tmp_path):
    save(tmp_path, example_state(width=5), 1)
    expected = shapes(example_state(width=7) | {"extra": jnp.zeros(2)})
    with pytest.raises(UserError) as refused:
        checkpoint.restore(newest(tmp_path)[0], expected)
    assert "['moments'].mean: saved float32[5], expected float32[7]" in str(refused.value)
    assert "['extra']: saved nothing, expected float32[2]" in str(refused.value)


def test_another_version_is_refused(tmp_path):
    path = save(tmp_path, {"x": jnp.ones(3)}, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    # Earlier versions wrote no digest of the manifest itself.
    earlier = {name: value for name, value in manifest.items() if name != "sha256"} | {"schema": 1}
    (path / "manifest.json").write_text(json.dumps(earlier))
    with pytest.raises(UserError, match="format 1, this PureRL reads format 3; go on with the version that"):
        newest(tmp_path)


@pytest.mark.parametrize("step", ["reserve", "flush_tree"])
def test_a_full_disk_is_one_line_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch, step):
    save(tmp_path, {"x": jnp.ones(3)}, 1, keep=1)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, step, full)
    with pytest.raises(TrainingError) as stopped:
        save(tmp_path, {"x": jnp.ones(3)}, 2, keep=1)
    assert str(stopped.value) == (
        f"cannot write the checkpoint chunk-00000002: No space left on device; "
        f"the last good checkpoint is {tmp_path / 'chunk-00000001'}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["chunk-00000001"]
    assert newest(tmp_path) == (newest(tmp_path)[0], [])
