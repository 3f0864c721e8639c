import os

# Most of the suite's time is compilation, and its programs run for moments: compile fast rather than well.
FAST_COMPILATION = "--xla_backend_optimization_level"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if FAST_COMPILATION not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILATION}=0".strip()

import purerl  # noqa: E402

purerl.runtime.enable_compilation_cache()
