"""Night after night with a real sync: our own echoes, people in between, and what the marts say in the morning."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date

import psycopg
import pytest

from control import writebacks
from sandbox.salesforce import Org, serve
from steps import pipeline
from tests.conftest import Tenant
from tests.writeback.crm import ACTOR, SCORE, TIER, Crm

TODAY = date(2026, 3, 10)


@pytest.fixture
def company(tenant: Tenant, administrator: psycopg.Connection) -> Iterator[Crm]:
    with serve(Org(seed=11, accounts=3, activities_per_year=120)) as served:
        made = Crm(tenant, served, administrator)
        made.connect()
        made.add_fields("Account", "Contact", "Lead", "Opportunity")
        for entity in ("accounts", "people"):
            made.switch_on(entity)
        yield made


@pytest.mark.long
def test_nights_of_a_company_with_our_own_echoes_and_somebody_who_knows_better(company: Crm) -> None:
    slug = company.tenant.slug
    pipeline.run(slug, as_of=TODAY, report=company.told.append)
    first = {write.id for write in company.writes}
    scored = company.rows("select count(*) from scores.engagements where entity_type <> 'opportunity'")
    assert scored == [(len(first),)]
    assert len(first) == len(company.writes)
    # the echo: everything comes back with a new stamp, and nothing is another score or another writing
    scores = company.rows("select entity_id, to_jsonb(e) from scores.engagements as e order by 1")
    company.org.advance(seconds=3600)
    company.forget_calls()
    pipeline.run(slug, as_of=TODAY, report=company.told.append)
    assert company.writing_calls() == 0
    assert company.rows("select entity_id, to_jsonb(e) from scores.engagements as e order by 1") == scores
    # somebody knows better, and is asked
    known_better = sorted(first)[0]
    company.org.edit(company.org.entity_of(known_better), known_better, **{SCORE: 100.0})
    company.org.advance(seconds=3600)
    company.forget_calls()
    # ten days of decay: what sank far enough is written, nothing else
    before = dict(company.rows("select record_id, sent -> 'GTM_Score__c' from scores.writeback_records"))
    pipeline.run(slug, as_of=date(2026, 3, 20), report=company.told.append)
    now = {
        record_id: (float(score), tier)
        for record_id, score, tier in company.rows(
            "select r.record_id, e.combined_score, e.tier from scores.writeback_records as r"
            " join scores.engagements as e on e.entity_type = r.entity_type and e.entity_id = r.entity_id"
        )
    }
    written = {write.id: write.after for write in company.writes}
    for record_id, (score, tier) in now.items():
        moved = abs(score - before[record_id]) >= 1
        if record_id in written:
            assert moved or TIER in written[record_id]
            assert written[record_id].get(TIER, tier.capitalize()) == tier.capitalize()
        else:
            assert not moved or record_id == known_better
    assert company.shows(known_better, SCORE) == 100.0
    # what people read in the morning
    outcomes = company.rows("select outcome, count(*) from marts.mart_operations__writeback group by 1")
    assert dict(outcomes)["written"] == len(first) + len(written)
    assert company.rows("select record_id, field, theirs from marts.mart_operations__writeback_overrides") == [
        (known_better, SCORE, 100.0)
    ]
    waiting = {each.record_id for each in writebacks.held(company.tenant.id, actor=ACTOR)}
    assert waiting == {known_better}
    # and by hand
    told = subprocess.run(
        [sys.executable, "-m", "cli.main", "writeback", slug, "--dry-run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "0 records would be written" in told.stdout, told.stderr
    assert "1 ask" in told.stdout
