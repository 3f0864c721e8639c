"""Weights & Biases without a network: identifiers that it takes, and failures that cost no run."""

import errno
import os
import sys
import types

import pytest

from purerl.compile.runtime import cache_folder, enable_compilation_cache, home
from purerl.view import sinks


def test_a_run_whose_name_the_service_refuses_is_followed_offline(tmp_path, command, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no key in there
    run_dir = tmp_path / "12:00:00"
    code, output, error = command("--total-steps", "16", "--track", "wandb", "--run-dir", run_dir)
    assert (code, error) == (0, "")
    assert "warning" not in output
    known = (run_dir / sinks.IDENTIFIER_FILE).read_text().strip()
    (offline,) = (run_dir / "wandb").glob(f"offline-run-*-{known}")
    assert list(offline.glob("*.wandb"))


def test_the_identifier_is_kept_and_two_runs_of_one_name_have_two(tmp_path):
    ours, theirs = tmp_path / "a" / "run1", tmp_path / "b" / "run1"
    for run_dir in (ours, theirs):
        run_dir.mkdir(parents=True)
    assert sinks.identifier(ours) == sinks.identifier(ours) != sinks.identifier(theirs)
    before = sinks.identifier(ours)
    (ours / sinks.IDENTIFIER_FILE).write_text("a/b:c")
    assert sinks.identifier(ours) not in (before, "a/b:c")
    assert (ours / f"{sinks.IDENTIFIER_FILE}.damaged-1").read_text() == "a/b:c"


class Service:
    """What `wandb.init` returns; it fails where it is told to."""

    def __init__(self, fails_at):
        self.fails_at, self.calls = fails_at, []

    def __call__(self, name):
        def call(*arguments, **options):
            self.calls.append(name)
            if name == self.fails_at:
                raise RuntimeError("no\nconnection")

        return call

    def module(self):
        run = types.SimpleNamespace(**{name: self(name) for name in ("define_metric", "log", "finish")})
        settings = lambda **options: None  # noqa: E731

        def init(**options):
            self("init")()
            return run

        return types.SimpleNamespace(init=init, Settings=settings)


@pytest.mark.parametrize("fails_at", ["init", "log", "finish"])
def test_a_service_that_fails_is_told_of_once_and_training_goes_on(tmp_path, command, monkeypatch, fails_at):
    service = Service(fails_at)
    monkeypatch.setitem(sys.modules, "wandb", service.module())
    code, output, error = command("--track", "wandb", "--run-dir", tmp_path / "run")
    assert (code, error) == (0, "")
    warning = "warning: Weights & Biases failed, and training goes on without it: no connection"
    assert output.count(warning) == output.count("warning") == 1
    assert service.calls.count(fails_at) == 1
    assert service.calls.count("log") == {"init": 0, "log": 1, "finish": 20}[fails_at]  # of 20 chunks


@pytest.fixture
def no_home(monkeypatch):
    """A container: no HOME, and a user id without a name."""
    for name in ("HOME", "XDG_CACHE_HOME", "PURERL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.fixture
def set_options(monkeypatch):
    """What JAX is told of its cache; it is not really told."""
    told = {}
    monkeypatch.setattr("jax.config.update", told.__setitem__)
    return told


def test_without_a_home_there_is_no_cache_and_one_line_that_says_so(no_home, set_options, capsys):
    assert home() is None and cache_folder() is None
    assert enable_compilation_cache() is None
    assert set_options == {}
    assert capsys.readouterr().err == (
        "compiled programs are not kept for the next start: there is no home folder; set "
        "PURERL_CACHE_DIR to a folder for them\n"
    )


def test_without_a_home_the_folder_that_is_named_is_used(no_home, set_options, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PURERL_CACHE_DIR", str(tmp_path / "cache"))
    assert enable_compilation_cache() == tmp_path / "cache" / "xla"
    assert set_options["jax_compilation_cache_dir"] == str(tmp_path / "cache" / "xla")
    assert capsys.readouterr().err == ""


def test_without_a_home_a_run_can_still_be_followed(no_home, tmp_path, command, monkeypatch):
    service = Service("nowhere")
    monkeypatch.setitem(sys.modules, "wandb", service.module())
    monkeypatch.setenv("PURERL_CACHE_DIR", str(tmp_path / "cache"))
    assert command("--track", "wandb", "--total-steps", "16", "--run-dir", tmp_path / "run")[0] == 0
    assert service.calls == ["init", "define_metric", "log", "log", "finish"]


def test_a_folder_that_cannot_be_made_is_one_line(set_options, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PURERL_CACHE_DIR", str(tmp_path / "file"))
    assert enable_compilation_cache() is None
    assert set_options == {}
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{tmp_path / 'file' / 'xla'} cannot be made" in error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_read_and_told_in_one_line(
    set_options, capsys, monkeypatch, tmp_path, number
):
    def fails(**options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", fails)
    monkeypatch.setenv("PURERL_CACHE_DIR", str(tmp_path))
    assert enable_compilation_cache() == tmp_path / "xla"
    assert (
        set_options["jax_persistent_cache_min_compile_time_secs"] == 1e9
    )  # nothing takes so long: no writes
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"cannot be written ({os.strerror(number)})" in error
