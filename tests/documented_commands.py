"""Sweeps and populations as docs/sweeps.md has them, in fresh processes: whether each comes to its end.

    python tests/documented_commands.py TIMES [NUM_DEVICES ...]

runs every command so many times on two and on four devices, and prints how many of them ended.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECONDS = 900.0  # a machine that many share takes long to compile


def commands():
    """Words behind `python -m` of the commands for sweeps and populations; reports need runs."""
    text = (ROOT / "docs" / "sweeps.md").read_text().replace("\\\n", " ")
    found = [
        shlex.split(line) for line in re.findall(r"^python -m (purerl\.(?:sweep|population) .*)$", text, re.M)
    ]
    return {words[0].removeprefix("purerl."): words for words in found}


def run(words, num_devices, run_dir, total_steps=4096, seconds=SECONDS):
    """Runs one on simulated devices, for few steps, else with its own options; None where it does not end."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}",
        "PYTHONPATH": str(ROOT),
    }
    # All devices, though a busy machine would make do with fewer.
    options = ["--total-steps", str(total_steps), "--run-dir", str(run_dir), "--devices", str(num_devices)]
    try:
        return subprocess.run(
            [sys.executable, "-m", *words, *options],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None


def main(times, counts):
    """Prints a line a command and a number of devices; the exit code is 1 where one has not ended."""
    missing = 0
    for name, words in commands().items():
        for num_devices in counts:
            ended = 0
            for _ in range(times):
                with tempfile.TemporaryDirectory() as room:
                    done = run(words, num_devices, Path(room) / "run")
                ended += done is not None and done.returncode == 0
                if done is not None and done.returncode:
                    print(done.stderr[-2000:])
            print(f"{name} on {num_devices} devices: {ended} of {times} ended", flush=True)
            missing += times - ended
    sys.exit(missing > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [2, 4])
