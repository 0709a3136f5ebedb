"""What the gate found, as Data Docs of Great Expectations: for whoever is to read why nothing was published.

Its import takes three seconds of a processor and 260 MB, so it is loaded where pages are made and nowhere else. It
judges the same numbers by the same bounds as the gate did, and says so here if it comes to another end.

The library's own pages fetch styles, scripts and a picture that counts its readers from seven hosts. These fetch
nothing, and a policy in the page keeps it so.
"""

import hashlib
import html
import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg

from control import quality as results
from control.quality import Run, Told
from warehouse import database
from warehouse.errors import ClarityError
from warehouse.home import write_private

log = logging.getLogger(__name__)

LAST_RUNS = 3
FAILED_RUNS = 20
SUITES = {"raw": "What landed", "canonical": "What is known", "candidates": "What would be published"}

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2530 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } td, th { text-align: left; padding: .4rem .6rem;
border-bottom: 1px solid #dde3ea; vertical-align: top } .text-success { color: #1a7f4b } .text-danger { color: #b3261e }
a { color: #0b5cad } .popover, .modal, script, .navbar, .cooltip, form, button,
.col-lg-2.col-md-2 { display: none }
"""
# what would fetch or run something
_ACTIVE = re.compile(
    r"<script\b.*?</script\s*>|<link\b[^>]*>|<img\b[^>]*>|<nav\b.*?</nav\s*>|<footer\b.*?</footer\s*>"
    r"|<a\s[^>]*href=.https?:[^>]*>.*?</a\s*>",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Page:
    run: Run
    folder: Path


def make(tenant_id: str, slug: str) -> Path:
    """Bring the pages of a tenant up to date: of its last runs, and of the last that were held back.

    Returns the page to begin with. Whatever has a page already keeps it, so this is quick where nothing is new.
    """
    with database.run_session(tenant_id, application="quality pages") as connection:
        pages = [Page(run, results.pages_of(slug) / _token(run)) for run in _runs(connection, tenant_id)]
        missing = [page for page in pages if not page.folder.is_dir()]
        content = {page.run.run_id: results.of_run(connection, tenant_id, page.run.run_id) for page in missing}
    results.pages_of(slug).mkdir(mode=0o700, parents=True, exist_ok=True)
    for page in missing:
        _write(page, slug, content[page.run.run_id])
    index = results.pages_of(slug) / "index.html"
    write_private(index, _index(slug, pages))
    kept = {page.folder.name for page in pages}
    for stale in results.pages_of(slug).iterdir():
        if stale.is_dir() and stale.name not in kept:
            shutil.rmtree(stale)
    return index


def _runs(connection: psycopg.Connection, tenant_id: str) -> list[Run]:
    """Newest first."""
    last = results.runs(connection, tenant_id, limit=LAST_RUNS)
    held_back = results.runs(connection, tenant_id, limit=FAILED_RUNS, only_breaches=True)
    return sorted(
        {run.run_id: run for run in (*last, *held_back)}.values(), key=lambda run: run.checked_at, reverse=True
    )


def _token(run: Run) -> str:
    """A run's name is not one for a folder; a run that was judged again has another page."""
    return hashlib.sha256(f"{run.run_id}|{run.checked_at.isoformat()}".encode()).hexdigest()[:16]


def _write(page: Page, slug: str, told: Sequence[Told]) -> None:
    """Whole or not at all: a folder that is there is finished."""
    draft = page.folder.with_name(f".{page.folder.name}.{os.getpid()}")
    draft.mkdir(mode=0o700)
    try:
        for suite, of_it in groupby(
            sorted(told, key=lambda one: (one.suite, one.expectation)), key=lambda one: one.suite
        ):
            write_private(draft / f"{suite}.html", _rendered(slug, page.run, suite, list(of_it)))
        if not page.folder.is_dir():
            draft.rename(page.folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def validate(slug: str, suite: str, told: Sequence[Told]) -> Any:
    """The library's own result for a suite of one run. ClarityError if it does not agree with the gate."""
    os.environ |= {"GX_ANALYTICS_ENABLED": "False", "DO_NOT_TRACK": "1"}
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.core.expect_column_mean_to_be_between import ExpectColumnMeanToBeBetween
    from great_expectations.expectations.core.expect_column_to_exist import ExpectColumnToExist

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    # one row of numbers, so the mean of a column is its number: what the page shows as observed
    frame = pd.DataFrame([{one.expectation: one.observed for one in told}])
    expected = [
        ExpectColumnToExist(column=one.expectation)
        if one.verdict == "no history"
        else ExpectColumnMeanToBeBetween(column=one.expectation, min_value=one.lower_bound, max_value=one.upper_bound)
        for one in told
    ]
    batches = (
        context.data_sources.add_pandas(slug).add_dataframe_asset(suite).add_batch_definition_whole_dataframe("run")
    )
    named = context.suites.add(gx.ExpectationSuite(name=f"{slug} {suite}", expectations=expected))
    found = batches.get_batch(batch_parameters={"dataframe": frame}).validate(named)
    agreed = {one.expectation: one.verdict in ("pass", "no history") for one in told}
    for result in found.results:
        assert result.expectation_config
        name = result.expectation_config.kwargs["column"]
        if bool(result.success) is not agreed[name]:
            raise ClarityError(f"the gate and Great Expectations do not agree about {name}: this is a fault of ours")
        if "observed_value" in result.result:
            # its own pages can't write numbers of the numpy of today
            result.result["observed_value"] = float(result.result["observed_value"])
    return found


def _rendered(slug: str, run: Run, suite: str, told: Sequence[Told]) -> str:
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    document = ValidationResultsPageRenderer().render(validate(slug, suite, told))
    page: Any = DefaultJinjaPageView()
    return _closed(str(page.render(document)), f"{slug}: {SUITES[suite]}, {run.run_id}", _in_words(told))


def _in_words(told: Sequence[Told]) -> str:
    """What the library's page has no place for: what each is about, since when, and what to do."""
    rows = "".join(
        f"<tr><td class='{'text-danger' if one.since else 'text-success'}'>{html.escape(one.verdict)}</td>"
        f"<td><b>{html.escape(one.expectation)}</b><br>{html.escape(one.sentence)}</td>"
        f"<td>{_number(one.observed)}</td><td>{_number(one.lower_bound)}</td><td>{_number(one.upper_bound)}</td>"
        f"<td>{_moment(one.since) if one.since else ''}</td><td>{html.escape(_remedy(one))}</td></tr>"
        for one in told
    )
    heads = ("Verdict", "Expectation", "Observed", "At least", "At most", "Since", "What to do")
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{rows}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")


def _remedy(one: Told) -> str:
    if one.accepted_because:
        return f"accepted by {one.accepted_by}: {one.accepted_because}"
    return one.remedy if one.since else ""


def _closed(page: str, title: str, in_words: str) -> str:
    """The library's page, our words before it, and nothing in it that would call out."""
    head = (
        f"<head><meta charset='utf-8'><meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
    )
    # its links lead to pages of a site that is not there
    page = re.sub(r"""\shref=("[^"]*"|'[^']*')""", "", page)
    body = re.sub(r"<head\b.*?</head\s*>", "", _ACTIVE.sub("", page), count=1, flags=re.DOTALL | re.IGNORECASE)
    heading = f"<p><a href='../index.html'>All runs</a></p><h1>{html.escape(title)}</h1>{in_words}"
    return re.sub(r"<body[^>]*>", lambda found: f"{head}{found.group()}{heading}", body, count=1)


def _index(slug: str, pages: Sequence[Page]) -> str:
    rows = "".join(
        f"<tr><td>{_moment(page.run.checked_at)}</td><td>{html.escape(page.run.run_id)}</td>"
        f"<td class='{'text-danger' if page.run.breaches else 'text-success'}'>{html.escape(page.run.told)}</td>"
        f"<td>{_links(page)}</td></tr>"
        for page in pages
    )
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Quality of {html.escape(slug)}</title>"
        f"<meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\"><style>{_STYLE}</style></head><body>"
        f"<h1>Quality of {html.escape(slug)}</h1><p>The last {LAST_RUNS} runs, and the last that were held back.</p>"
        f"<table><tr><th>When</th><th>Run</th><th>Outcome</th><th>Suites</th></tr>{rows}</table></body></html>"
    )


def _links(page: Page) -> str:
    return ", ".join(
        f"<a href='{page.folder.name}/{suite}.html'>{html.escape(about)}</a>"
        for suite, about in SUITES.items()
        if (page.folder / f"{suite}.html").is_file()
    )


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
