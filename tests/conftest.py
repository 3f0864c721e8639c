import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import purerl

purerl.runtime.enable_compilation_cache()
