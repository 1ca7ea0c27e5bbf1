"""Render the report page of one or several runs as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import altair
import jinja2
import vl_convert
from markupsafe import Markup

from dgkd_search.errors import InputError
from dgkd_search.errors.shown import shown
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
        runs: at least one, each with a study.
        path: of the HTML file.
        study: the study of the only run, if it is already open.

    Raises:
        InputError: a folder is not a run, or it is damaged.
    """
    reports = _named([RunReport.read(run, study) for run in runs])
    figures = reports[0].figures()
    title = study_title(reports[0].study.config)
    if len(reports) > 1:
        title = f"{len(reports)} searches"
        charts = {report.name: report.accuracy for report in reports}
        caption = (
            "The best validation accuracy so far, from single runs; a star marks the trial that "
            "reached it."
        )
        some = any(chart.completed_points for chart in charts.values())
        figures = [ReportFigure("Search history", caption, several_spec(charts))] if some else []
    text = _template().render(
        title=title,
        runs=reports,
        figures=figures,
        library=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE),
        columns=COLUMNS,
        warning=_data_warning(reports),
    )
    write_bytes(path, text.encode())
    return path


def _data_warning(reports: list[RunReport]) -> str:
    """Return a warning if the runs used different data, else an empty text."""
    if len({_fingerprint(report.study) for report in reports}) < 2:
        return ""
    return (
        "These searches used different data or different splits: their accuracies can't be "
        "compared."
    )


def _fingerprint(study: ChainStudy) -> str | None:
    definition = study.read(DEFINITION)
    return definition.data if definition is not None else None


def _named(reports: list[RunReport]) -> list[RunReport]:
    """Name the runs by their folders, or by their full paths if folder names coincide."""
    names = [report.name for report in reports]
    if len(set(names)) == len(names):
        return reports
    paths = [str(report.run.path) for report in reports]
    if len(set(paths)) < len(paths):
        duplicate = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"{duplicate}: is named twice; name each run once")
    return [replace(report, name=path) for report, path in zip(reports, paths, strict=True)]


def _shown(value: object) -> object:
    """Return a value of the template, a text as one that is safe to show; HTML stays as it is."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("dgkd_search.results.report", "")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
