"""Runs side by side as one page: curves, scores, time to threshold, differences, machines and films."""

from purerl.report.page import write_report

__all__ = ["write_report"]
