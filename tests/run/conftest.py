import pytest
from fake_experiment import Config, build

from purerl.run import cli


@pytest.fixture
def command(capsys):
    """Runs the fake experiment in this process: arguments -> (exit code, standard output, standard error)."""

    def run(*arguments, build=build):
        with pytest.raises(SystemExit) as stop:
            cli.main(Config, build, argv=[str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run
