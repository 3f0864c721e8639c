"""Makes one page out of runs.

    python -m purerl.report runs/ppo-cartpole-v1-* --out report

Curves, scores, time to threshold, who is better than whom, what differs in the configurations, machines and
films; `report/report.html` needs nothing else. Runs that differ in nothing but their seeds are put together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from purerl.ranges import Number
from purerl.report.comparing import ScoredBy
from purerl.report.page import write_report
from purerl.report.plain_files import printable
from purerl.run import arguments, cli


@dataclass(frozen=True)
class Request:
    """What to report on."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR...")] = ()
    """Directories of runs; that of a sweep stands for its members."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("report")
    """Where the page and its pictures go."""
    metric: str | None = None
    """What runs are compared by; the share of solved episodes where there is one, or the return."""
    threshold: Number | None = None
    """What "time to threshold" means, in units of the metric; nine tenths of the way from the lowest to the
    highest mean."""
    scores: ScoredBy = "evaluation"
    """What final scores are of: the evaluation of the greedy policy after training, where every run has one,
    or the last tenth of training."""


def _main() -> None:
    request = arguments.parse_alone(Request, __doc__ or "")
    skipped = write_report(request.run_dirs, request.out, request.metric, request.threshold, request.scores)
    for path, reason in skipped:
        print(printable(f"left out: {path}: {reason}"))
    print(f"saved {request.out / 'report.html'}")


if __name__ == "__main__":
    cli.answer(_main)
