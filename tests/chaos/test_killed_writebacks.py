"""`clarity writeback` killed with -9 at any moment, and said again: the org's log shows each record written once.

CHAOS_KILLS says how often (3 in `make test`, 50 in `make chaos`), CHAOS_SEED repeats a sequence.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from psycopg.types.json import Jsonb

from control import settings, tenants, writeback_configs
from steps import provision, writeback_targets
from tests.chaos.conftest import KILLS, SEED
from tests.chaos.org import Org, served
from tests.conftest import Tenant
from tests.writeback.crm import ACTOR, BECAUSE, FIELD_MAP, SCORE, TIER
from warehouse import database

RECORDS = 600


@dataclass(frozen=True)
class WrittenOrg(Org):
    """One with fields for our scores, and accounts that we know."""

    ids: Sequence[str]

    @classmethod
    def at(cls, url: str) -> Self:
        org = Org(url)
        org.mutate("add_field", "Account", TIER, "picklist", picklist=["Hot", "Warm", "Cool", "Cold"])
        org.mutate("add_field", "Account", BECAUSE)
        return cls(url, [org.mutate("create", "Account", Name=f"Company {number}") for number in range(RECORDS)])

    def lock_some(self, dice: random.Random) -> None:
        for record_id in dice.sample(self.ids, 20):
            self.mutate("refuse_row", record_id, "UNABLE_TO_LOCK_ROW", times=1)

    def writes(self, after: int) -> list[dict[str, Any]]:
        return [write for call in self.get(f"log?after={after}") for write in call["writes"]]

    def truth(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.get("truth/Account")
        return found


@pytest.fixture(scope="module")
def org() -> Iterator[WrittenOrg]:
    with served(accounts=1, tasks=1) as url:
        yield WrittenOrg.at(url)


@pytest.fixture(scope="module")
def company(platform: Path, org: WrittenOrg) -> Iterator[Tenant]:
    slug = f"t_{random.Random(SEED).randrange(10**9)}"
    made = Tenant(provision.create_tenant(f"Company {slug}", slug, actor=ACTOR), slug)
    provision.add_connector(made.id, "salesforce", org.login, actor=ACTOR)
    content = {"field_map": FIELD_MAP, "policies": {}}
    writeback_configs.put(made.id, "salesforce", "accounts", content, actor=ACTOR)
    writeback_targets.enable(made.id, "salesforce", "accounts", actor=ACTOR)
    settings.change(made.id, actor=ACTOR, assignments=["features.writeback=true"])
    yield made
    tenants.delete(made.id, actor=ACTOR)


@pytest.mark.timeout(900 + 60 * KILLS)
def test_writebacks_that_were_killed_and_said_again_write_each_record_once(company: Tenant, org: WrittenOrg) -> None:
    print(f"\nchaos: {KILLS} kills of writebacks, CHAOS_SEED={SEED}")
    dice, kills, seconds, night = random.Random(SEED), 0, 3.0, 0
    while kills < KILLS:
        night += 1
        scores = {record_id: float(dice.randrange(0, 100)) for record_id in org.ids}
        before = {record_id: values[SCORE] for record_id, values in org.truth().items()}
        a_new_night(company, org, scores)
        org.lock_some(dice)
        calls = org.calls()
        # more than one in a night, until it comes through
        for _ in range(dice.randint(1, 3)):
            kills += killed(company, org, dice.uniform(0, seconds))
        began = time.monotonic()
        told = said(company).communicate(timeout=120)[0]
        seconds = max(1.0, min(3.0, time.monotonic() - began))
        due = {
            record_id
            for record_id in org.ids
            if before[record_id] is None or abs(before[record_id] - scores[record_id]) >= 1
        }
        written = Counter(write["id"] for write in org.writes(calls))
        assert {record_id for record_id, times in written.items() if times > 1} == set(), told
        assert set(written) == due, told
        assert {write["operation"] for write in org.writes(calls)} == {"update"}
        assert [write for write in org.writes(calls) if None in write["after"].values()] == []
        now = org.truth()
        assert {record_id: now[record_id][SCORE] for record_id in org.ids} == scores
        with database.run_session(company.id) as connection:
            open_ones = connection.execute(
                "select count(*) from scores.writeback_receipts where outcome in ('planned', 'sending', 'left')"
            ).fetchone()
            assert open_ones == (0,)


def a_new_night(company: Tenant, org: WrittenOrg, scores: dict[str, float]) -> None:
    """Everything is synced and scored anew."""
    with database.connect(database.admin_conninfo()) as admin:
        admin.cursor().executemany(
            "insert into canonical.accounts (id, tenant_id, name, source, external_id, source_data)"
            " values (%(id)s, %(tenant)s, 'Company', 'salesforce', %(record)s, %(payload)s)"
            " on conflict (id) do update set source_data = excluded.source_data",
            [
                {"id": f"{company.id}{record}", "tenant": company.id, "record": record, "payload": Jsonb(payload)}
                for record, payload in org.truth().items()
                if record in scores
            ],
        )
        admin.cursor().executemany(
            "insert into scores.engagements (id, tenant_id, entity_type, entity_id, combined_score, tier,"
            " score_breakdown) values (%(id)s, %(tenant)s, 'account', %(id)s, %(score)s, 'hot', '{}')"
            " on conflict (tenant_id, entity_type, entity_id) do update set combined_score = excluded.combined_score",
            [{"id": f"{company.id}{record}", "tenant": company.id, "score": score} for record, score in scores.items()],
        )


def said(company: Tenant) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "writeback", company.slug],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def killed(company: Tenant, org: WrittenOrg, moment: float) -> int:
    """So many seconds after its first call; 1 if it still ran then."""
    before, process = org.calls(), said(company)
    while process.poll() is None and not org.calls(after=before):
        time.sleep(0.02)
    try:
        told, _ = process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.communicate()
        print(f"chaos: killed {moment:.2f} s after the first call, {org.calls(after=before)} made", flush=True)
        return 1
    assert process.returncode == 0, told
    return 0
