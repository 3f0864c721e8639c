"""The default command with one and with two devices, alone and beside a busy process, by turns.

    python -m benchmarks.neighbors [TURNS] [TOTAL_STEPS]

prints a line a run, with the rate of matrix products before it, and then medians: what the second device
gains, and what the default (`--devices 0`) makes beside a busy process against one device there.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.rows import run_script

SCRIPT = "experiments/ppo_bikkle.py"
CASES = ((1, False), (2, False), (1, True), (2, True), (0, True))


@contextmanager
def neighbor(busy: bool) -> Iterator[None]:
    """Beside a process that keeps a core busy, if so."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def matrix_products(size: int = 1024, turns: int = 10) -> float:
    """GFLOP/s of products of square matrices, float32, by NumPy."""
    a = np.ones((size, size), np.float32)
    started = time.perf_counter()
    for _ in range(turns):
        a @ a
    return 2e-9 * size**3 * turns / (time.perf_counter() - started)


def main(turns: int, total_steps: int) -> None:
    """Takes the cases by turns; programs are compiled in the first and read from the cache afterward."""
    found: dict[tuple[int, bool], list[float]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as room:
        for turn in range(turns):
            for devices, busy in CASES:
                products = matrix_products()
                options = (
                    "--devices",
                    str(devices),
                    "--total-steps",
                    str(total_steps),
                    "--eval-episodes",
                    "16",
                )
                with neighbor(busy):
                    summary, _ = run_script(SCRIPT, Path(room), f"{turn}-{devices}-{busy}", *options)
                rate = summary["steps_per_second"]
                found[devices, busy].append(rate)
                words = f"--devices {devices}{', beside a busy process' * busy}: {rate:,.0f} steps/s"
                print(f"{words} on {summary['num_devices']} ({products:.0f} GFLOP/s before it)", flush=True)
    median = {case: statistics.median(rates) for case, rates in found.items()}
    print(f"second device, alone: {median[2, False] / median[1, False]:.2f}")
    print(f"second device, beside a busy process: {median[2, True] / median[1, True]:.2f}")
    print(f"default beside a busy process, against one device: {median[0, True] / median[1, True]:.2f}")


if __name__ == "__main__":
    given = [int(float(word)) for word in sys.argv[1:]]
    main(*given, *(3, 400_000)[len(given) :])
