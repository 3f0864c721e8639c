"""Says what this machine and this installation can do, and what would be slow or fail here.

    python -m purerl.doctor

Versions, devices, memory, driver, flags in force, cache, and the rates of a matrix product and of a small
training. The exit code is 1 where something is wrong, and 0 where runs would work, be it slowly.
"""

from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from purerl.doctor.findings import Finding, all_findings
from purerl.host import hosts, printing
from purerl.host.errors import TrainingError, one_line
from purerl.run import arguments, cli

_STYLES = {"good": "green", "slow": "yellow", "wrong": "bold red"}


@dataclass(frozen=True)
class Request:
    """What to look at."""

    measure: bool = True
    """Measure rates, which takes some seconds; not done where something is wrong."""


def measured() -> list[Finding]:
    """The rates of this machine."""
    from purerl.doctor import rates  # noqa: PLC0415  slow to import, and --help should not wait for it

    gflops = rates.matmul_gflops()
    minutes = rates.default_seconds(gflops) / 60
    findings = [
        Finding("matrix product", f"{gflops:.0f} GFLOP/s on one device, float32, 2048^3"),
        Finding(
            "default command",
            f"about {minutes:.1f} minutes on two such cores, as busy as they are now; "
            f"{rates.DEFAULT_SECONDS / 60:.1f} where a product reaches {rates.AT_GFLOPS:.0f} GFLOP/s",
        ),
    ]
    try:
        steps, seconds = rates.small_training()
    except (RuntimeError, ValueError) as error:  # what XLA raises, too
        advice = f"It fails: {one_line(error)}"
        return [*findings, Finding("small training", "none", "wrong", advice)]
    return [
        *findings,
        Finding("small training", f"{steps:,.0f} steps/s after {seconds:.1f} s of compilation"),
    ]


def show(findings: list[Finding], console: Console) -> None:
    """Prints a table of what was found, and below it what to do."""
    console.print(table_of(findings))
    for finding in findings:
        if finding.advice:
            printing.say(console, f"{finding.what}: {finding.advice}", style=_STYLES[finding.state])


def table_of(findings: list[Finding]) -> Table:
    """What was found, a row each."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(state, Text(finding.what), Text(finding.found))
    return table


def examine(request: Request, console: Console) -> None:
    """Looks at everything and shows it.

    Raises:
        TrainingError: something is wrong; runs would fail, or not be what they say.
    """
    findings = all_findings()
    if request.measure and not any(finding.state == "wrong" for finding in findings):
        findings += measured()
    show(findings, console)
    wrong = [finding.what for finding in findings if finding.state == "wrong"]
    if wrong:
        raise TrainingError(f"something is wrong here: {', '.join(wrong)}; what to do stands above")


if __name__ == "__main__":
    cli.answer(lambda: examine(arguments.parse_alone(Request, __doc__ or ""), hosts.console()))
