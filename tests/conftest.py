import gc
import os

import purerl

# Most of the suite's time is compilation, and its programs run for moments: compile fast rather than well.
FAST_COMPILATION = " ".join(
    f"--{name}={str(value).lower()}" for name, value in purerl.runtime.xla.run_once_options("cpu").items()
)

# What JAX keeps of each program stays alive: looking through it again and again takes a tenth of the time.
gc.set_threshold(200_000, 100, 1000)

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if FAST_COMPILATION not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILATION}".strip()

purerl.runtime.enable_compilation_cache()
