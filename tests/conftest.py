import gc
import os
import zlib

import pytest

import purerl

# Most of the suite's time is compilation, and its programs run for moments: compile fast rather than well.
FAST_COMPILATION = " ".join(
    f"--{name}={str(value).lower()}" for name, value in purerl.compile.runtime.xla.run_once_options().items()
)

# What JAX keeps of each program stays alive: looking through it again and again takes a tenth of the time.
gc.set_threshold(200_000, 100, 1000)

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if FAST_COMPILATION not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILATION}".strip()

from purerl.compile import cores, placement  # noqa: E402

purerl.compile.runtime.enable_compilation_cache()


def pytest_addoption(parser):
    parser.addoption(
        "--share", type=int, default=1, metavar="N", help="run the experiments and an Nth of all other tests"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each file goes to one worker: its tests share what they compile."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415  only where several workers run

    if config.option.dist != "load":  # asked for by name
        return None
    config.option.loadscopereorder = (
        False  # files with few tests are often the slow ones: none is kept for last
    )
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(config, items):
    # By name, so that a test that is added or taken away does not change which others run.
    def runs(item):
        return "experiment" in item.path.name or zlib.crc32(item.nodeid.encode()) % config.option.share == 0

    left_out = [item for item in items if not runs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if runs(item)]


@pytest.fixture(autouse=True)
def _all_devices(monkeypatch):
    """Whatever else the machine does, and whatever another test has chosen."""
    monkeypatch.setattr(cores, "busy", lambda: 0.0)
    placement.use(0)
