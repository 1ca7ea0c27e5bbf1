"""The page: what is found in runs, put into one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import altair
import jinja2
import vl_convert

from dgkd_search.errors import InputError
from dgkd_search.results.definition import DEFINITION
from dgkd_search.results.figures import study_title
from dgkd_search.results.report.content import ReportFigure, RunReport
from dgkd_search.results.report.search_charts import several_spec
from dgkd_search.results.report.trial_table import COLUMNS
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.study.study import ChainStudy
from dgkd_search.utils.files import write_bytes

_VEGA_LITE = ".".join(altair.SCHEMA_VERSION.split(".")[:2])


def render_report(runs: Sequence[RunFolder], path: Path, study: ChainStudy | None = None) -> Path:
    """Write the page of one run, or one that compares several.

    Args:
        runs: of which each has a study; at least one.
        path: of the file.
        study: of the only run, if it is open.

    Raises:
        InputError: one is no run, or it is damaged.
    """
    reports = _named([RunReport.read(run, study) for run in runs])
    figures = reports[0].figures()
    title = study_title(reports[0].study.config)
    if len(reports) > 1:
        title = f"{len(reports)} searches"
        charts = {report.name: report.accuracy for report in reports}
        words = "The best validation accuracy so far, one run each; a star where it was reached."
        some = any(chart.completed_points for chart in charts.values())
        figures = [ReportFigure("Trial after trial", words, several_spec(charts))] if some else []
    text = _template().render(
        title=title,
        runs=reports,
        figures=figures,
        library=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE),
        columns=COLUMNS,
        warning=_unlike(reports),
    )
    write_bytes(path, text.encode())
    return path


def _unlike(reports: list[RunReport]) -> str:
    """A sentence where accuracies of several runs don't compare."""
    if len({_fingerprint(report.study) for report in reports}) < 2:
        return ""
    return (
        "These searches did not see the same data, or not the same split of them: their "
        "accuracies can't be compared."
    )


def _fingerprint(study: ChainStudy) -> str | None:
    definition = study.read(DEFINITION)
    return definition.data if definition is not None else None


def _named(reports: list[RunReport]) -> list[RunReport]:
    """Under their folders' names, or their whole paths where those are the same."""
    names = [report.name for report in reports]
    if len(set(names)) == len(names):
        return reports
    paths = [str(report.run.path) for report in reports]
    if len(set(paths)) < len(paths):
        again = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"{again}: is named twice; name each run once")
    return [replace(report, name=path) for report, path in zip(reports, paths, strict=True)]


@cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("dgkd_search.results.report", "")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
