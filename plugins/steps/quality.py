"""The gate before publication: what was measured, what was expected of it, and the verdict.

The bounds are the suites of Great Expectations (steps/quality_pages.py) and the comparison is one of two numbers, so
the verdict costs a run nothing but the queries. docs/quality.md says what is expected, docs/decisions/0022 why so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from control import audit, incidents, settings
from steps import quality_metrics
from steps.quality_expectations import Expectation, Known, expectations
from steps.quality_metrics import History, Waiting
from warehouse.errors import ClarityError

STAGE = "quality"
BREACH = "breach"
# A row that can't be a score is none, whoever says that it is.
NEVER_ACCEPTED = "candidates.rows."
SHOWN_BREACHES = 5

_PREVIOUS = """
select distinct on (expectation) expectation, case when verdict <> 'accepted' then since end
from quality.expectation_results
where tenant_id = %(tenant)s and expectation = any(%(names)s)
order by expectation asc, checked_at desc
"""
_RESULT = """
insert into quality.expectation_results (
    tenant_id, run_id, suite, expectation, observed, lower_bound, upper_bound, verdict, since, sentence, remedy,
    accepted_by, accepted_because
) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Breach(ClarityError):
    """Nothing was published. The message says what was expected, what was found and what to do."""

    # the gate has opened its incident in the transaction of its verdict
    is_told = True


@dataclass(frozen=True)
class Acceptance:
    """Somebody says of a breach that this is how things are."""

    actor: str
    because: str


@dataclass(frozen=True)
class Result:
    expectation: Expectation
    observed: float
    verdict: str
    since: datetime | None

    @property
    def told(self) -> str:
        it = self.expectation
        since = f", since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        return (
            f"{it.sentence}: {number(it.name, self.observed)}, expected {expected(it)}{since}. {_sentence(it.remedy)}"
        )


@dataclass(frozen=True)
class Verdict:
    slug: str
    results: Sequence[Result]

    def those(self, verdict: str) -> list[Result]:
        return [result for result in self.results if result.verdict == verdict]

    @property
    def is_breach(self) -> bool:
        return bool(self.those("breach"))

    @property
    def sentence(self) -> str:
        breaches = self.those("breach")
        more = f" And {len(breaches) - SHOWN_BREACHES} more." if len(breaches) > SHOWN_BREACHES else ""
        return " Also: ".join(result.told for result in breaches[:SHOWN_BREACHES]) + more

    @property
    def remedy(self) -> str:
        return (
            f"`clarity quality {self.slug}` shows all that was expected. If this is how things are:"
            f' `clarity publish {self.slug} --accept-breach "why"`'
        )


def judge(
    connection: psycopg.Connection,
    tenant_id: str,
    run_id: str,
    waiting: Waiting | None,
    failing_rows: Mapping[str, tuple[str, int]],
    accepted: Acceptance | None = None,
) -> Verdict:
    """Measure, compare, and write down what came of it, in the caller's transaction.

    `failing_rows` are the checks of single candidates: by name what is wrong, and of how many.
    """
    slug = _slug(connection, tenant_id)
    history = History.of(connection, tenant_id)
    metrics = quality_metrics.measure(connection, tenant_id, run_id, waiting, history)
    rows = {f"candidates.rows.{name}": failing for name, failing in failing_rows.items()}
    metrics |= {name: float(count) for name, (_, count) in rows.items()}
    known = Known(settings.effective(connection, tenant_id).quality, metrics, history)
    reasons = {name: f"{reason} ({count} rows)" if count else reason for name, (reason, count) in rows.items()}
    expected_ones = list(expectations(known, slug=slug, run_id=run_id, reasons=reasons))
    since = _since(connection, tenant_id, expected_ones)
    now = datetime.now(UTC)
    verdict = Verdict(
        slug, [_result(one, metrics[one.name], since.get(one.name), now, accepted) for one in expected_ones]
    )
    quality_metrics.remember(connection, tenant_id, run_id, metrics)
    _write(connection, tenant_id, run_id, verdict.results, accepted)
    _tell(connection, tenant_id, run_id, verdict)
    if not verdict.is_breach:
        quality_metrics.passed(connection, tenant_id, run_id)
    return verdict


def number(name: str, value: float) -> str:
    if name.endswith("_share"):
        return f"{value:.1%}"
    return f"{value:,.1f}".removesuffix(".0")


def expected(it: Expectation) -> str:
    if it.lower is not None and it.upper is not None:
        return f"{number(it.name, it.lower)} to {number(it.name, it.upper)}"
    if it.lower is not None:
        return f"at least {number(it.name, it.lower)}"
    return f"at most {number(it.name, it.upper)}" if it.upper is not None else "anything"


def _result(
    it: Expectation, observed: float, since: datetime | None, now: datetime, accepted: Acceptance | None
) -> Result:
    if not it.is_bound:
        return Result(it, observed, "no history", None)
    if it.is_met_by(observed):
        return Result(it, observed, "pass", None)
    verdict: str = it.weight
    if verdict == "breach" and accepted and not it.name.startswith(NEVER_ACCEPTED):
        verdict = "accepted"
    return Result(it, observed, verdict, since or now)


def _since(
    connection: psycopg.Connection, tenant_id: str, expected_ones: Sequence[Expectation]
) -> dict[str, datetime | None]:
    """Since when each was not met when it was looked at before."""
    rows = connection.execute(_PREVIOUS, {"tenant": tenant_id, "names": [one.name for one in expected_ones]}).fetchall()
    return {name: since and since.astimezone(UTC) for name, since in rows}


def _write(
    connection: psycopg.Connection,
    tenant_id: str,
    run_id: str,
    results: Sequence[Result],
    accepted: Acceptance | None,
) -> None:
    """In place of what an earlier attempt of this run found."""
    connection.execute(
        "delete from quality.expectation_results where tenant_id = %s and run_id = %s", [tenant_id, run_id]
    )
    connection.execute(
        "delete from quality.expectation_results"
        " where tenant_id = %s and checked_at < now() - make_interval(days => %s)",
        [tenant_id, quality_metrics.DAYS_REMEMBERED],
    )
    rows = []
    for result in results:
        it, is_accepted = result.expectation, result.verdict == "accepted"
        rows.append(
            (
                tenant_id, run_id, it.suite, it.name, result.observed, it.lower, it.upper, result.verdict,
                result.since, it.sentence, it.remedy,
                accepted.actor if accepted and is_accepted else None,
                accepted.because if accepted and is_accepted else None,
            )
        )  # fmt: skip
    connection.cursor().executemany(_RESULT, rows)
    if accepted and (names := [result.expectation.name for result in results if result.verdict == "accepted"]):
        audit.record(
            connection,
            tenant_id=tenant_id,
            actor=accepted.actor,
            action="quality.accept",
            resource="publication",
            resource_id=run_id,
            after={"expectations": names, "because": accepted.because},
        )


def _tell(connection: psycopg.Connection, tenant_id: str, run_id: str, verdict: Verdict) -> None:
    met = [it.expectation.name for it in verdict.results if it.verdict in ("pass", "no history", "accepted")]
    incidents.over(
        connection, tenant_id=tenant_id, stage=STAGE, causes=[*met, *([] if verdict.is_breach else [BREACH])]
    )
    for warning in verdict.those("warning"):
        it = warning.expectation
        incidents.seen(
            connection,
            tenant_id=tenant_id,
            stage=STAGE,
            cause=it.name,
            severity="degradation",
            reason=f"{it.sentence}: {number(it.name, warning.observed)}, expected {expected(it)}",
            remedy=_sentence(it.remedy),
            run_id=run_id,
        )
    if verdict.is_breach:
        incidents.seen(
            connection,
            tenant_id=tenant_id,
            stage=STAGE,
            cause=BREACH,
            severity="failure",
            reason=f"nothing published, the last good scores stay: {verdict.sentence}",
            remedy=verdict.remedy,
            run_id=run_id,
        )


def _slug(connection: psycopg.Connection, tenant_id: str) -> str:
    ((slug,),) = connection.execute("select slug from control.tenants where id = %s", [tenant_id]).fetchall()
    return str(slug)


def _sentence(text: str) -> str:
    """As one that stands for itself."""
    ended = text if text.endswith((".", "?", "!")) else f"{text}."
    return ended[0].upper() + ended[1:]
