"""A page of what a search found, in one file that needs no network."""

from dgkd_search.report.page import write_report

__all__ = ["write_report"]
