import gc
import os

# Most of the suite's time is compilation, and its programs run for moments: compile fast rather than well.
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"

# What JAX keeps of each program stays alive: looking through it again and again takes a tenth of the time.
gc.set_threshold(200_000, 100, 1000)

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if FAST_COMPILATION not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILATION}".strip()

import pytest  # noqa: E402

import purerl  # noqa: E402
from purerl import cores, placement  # noqa: E402

purerl.runtime.enable_compilation_cache()


@pytest.fixture(autouse=True)
def _all_devices(monkeypatch):
    """Whatever else the machine does, and whatever another test has chosen."""
    monkeypatch.setattr(cores, "busy", lambda: 0.0)
    placement.use(0)
