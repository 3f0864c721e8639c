"""The commands for sweeps and populations, as their page has them: in fresh processes they come to an end.

Batched routines of LAPACK wait for XLA's threads, which several devices have in common: with one of them in a
vmapped program these commands never ended.
"""

import documented_commands
import pytest

COMMANDS = documented_commands.commands()


def test_the_page_has_a_sweep_and_a_population():
    assert set(COMMANDS) == {"sweep", "population"}


@pytest.mark.parametrize(("name", "num_devices"), [("sweep", 2), ("population", 4)])
def test_a_documented_command_ends(name, num_devices, tmp_path):
    done = documented_commands.run(COMMANDS[name], num_devices, tmp_path / "run")
    assert done is not None, f"not ended after {documented_commands.SECONDS} seconds"
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"using {num_devices} of {num_devices} devices, as --devices says" in done.stdout
    assert (tmp_path / "run" / ("results.json" if name == "sweep" else "summary.json")).exists()
