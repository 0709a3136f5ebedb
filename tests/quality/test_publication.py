"""The gate in a run: who is published, who keeps the last good scores, and where that is to be read."""

import csv
import itertools
import json
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from control import incidents, members, registry, settings, tenants
from control import quality as results
from sandbox import companies
from steps import alerts, pipeline, provision, quality_pages
from steps.quality import Breach
from tests.alerts.receivers import Hook, http_receiver
from tests.conftest import Tenant
from warehouse import database, lease
from warehouse.errors import ClarityError
from warehouse.home import home

TODAY = date(2026, 3, 10)
ACTOR = "system:tests"


@dataclass
class Customer:
    tenant: Tenant
    folder: Path

    def run(self, days: int = 0) -> None:
        pipeline.run(self.tenant.slug, as_of=TODAY + timedelta(days=days))

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with database.run_session(self.tenant.id) as connection:
            return connection.execute(query.encode()).fetchall()

    def scores(self) -> list[tuple[object, ...]]:
        return self.rows("select entity_id, combined_score, tier, xmin::text from scores.engagements order by 1")

    def edit(self, stream: str, change: Callable[[dict[str, str]], None]) -> None:
        file = self.folder / f"{stream}.csv"
        with file.open(encoding="utf-8", newline="") as read:
            rows = list(csv.DictReader(read))
        for row in rows:
            change(row)
        with file.open("w", encoding="utf-8", newline="") as written:
            writer = csv.DictWriter(written, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def lose_titles(self) -> None:
        self.edit("people", lambda row: row.update(title=""))


@dataclass
class Night:
    """Three tenants after two nights: the second went well, without the source, and with all titles lost."""

    healthy: Customer
    broken: Customer
    breached: Customer
    before: dict[str, list[tuple[object, ...]]]
    said: dict[str, str]
    told: Hook

    @property
    def customers(self) -> list[Customer]:
        return [self.healthy, self.broken, self.breached]

    def message_about(self, customer: Customer) -> str:
        """The one that went out."""
        name = registry.tenant(customer.tenant.slug).name
        (text,) = [
            text for heard in self.told.heard if (text := json.loads(heard.body)["text"]).startswith(f"*{name}:")
        ]
        return str(text)


@pytest.fixture(scope="module")
def night(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    names = itertools.count(1)
    with pytest.MonkeyPatch.context() as patch, http_receiver() as receiver:
        # in this process all runs would bear the name of the process
        patch.setattr(lease, "local_holder", lambda: f"tests:night {next(names)}")
        patch.setenv(alerts.SLACK_URL, receiver.url)
        customers = [supplied(name, tmp_path_factory.mktemp(name), seed) for seed, name in enumerate(THREE, start=7)]
        for customer in customers:
            customer.run()
        healthy, broken, breached = customers
        before = {each.tenant.slug: each.scores() for each in customers}
        broken.folder.rename(broken.folder.with_name("gone"))
        breached.lose_titles()
        said = {}
        for customer in customers:
            try:
                customer.run(days=1)
            except ClarityError as error:
                said[customer.tenant.slug] = str(error)
        yield Night(healthy, broken, breached, before, said, receiver)
        for customer in customers:
            tenants.delete(customer.tenant.id, actor=ACTOR)


THREE = ("healthy", "broken", "breached")


def supplied(name: str, folder: Path, seed: int) -> Customer:
    tenant = Tenant(provision.create_tenant(f"{name.title()} Ltd", name, actor=ACTOR), name)
    companies.write_csv(folder / "files", companies.generate(seed, 12, TODAY))
    provision.add_connector(tenant.id, "files", {"folder": str(folder / "files")}, actor=ACTOR)
    return Customer(tenant, folder / "files")


def test_after_one_night_the_healthy_one_is_published_and_the_others_keep_their_last_good_scores(night: Night) -> None:
    assert night.healthy.scores() != night.before["healthy"]
    assert night.broken.scores() == night.before["broken"]
    assert night.breached.scores() == night.before["breached"]
    assert set(night.said) == {"broken", "breached"}
    assert "nothing arrived, so nothing is scored and the last good scores stay" in night.said["broken"]


def test_the_alerts_say_what_to_do_and_nobody_is_told_of_the_healthy_one(night: Night) -> None:
    assert len(night.told.heard) == 2
    broken = night.message_about(night.broken)
    assert broken.startswith("*Broken Ltd: extract files: failure*")
    assert "What to do: `clarity connector test broken files` says what is wrong; then `clarity run broken`." in broken
    breached = night.message_about(night.breached)
    assert breached.startswith("*Breached Ltd: quality: failure*\nnothing published, the last good scores stay: ")
    assert "clarity mapping show breached" in breached
    assert "clarity publish breached --accept-breach" in breached
    assert list(incidents.recent(night.healthy.tenant.id, actor=ACTOR)) == []


def test_a_breach_says_what_was_expected_and_found_in_the_run_the_results_and_the_mart(night: Night) -> None:
    assert re.search(
        r"the last good scores stay: share of people without title: 100\.0%, expected at most \d\d\.\d%, since 20",
        night.said["breached"],
    )
    (told,) = [one for one in results.latest(night.breached.tenant.id, actor=ACTOR) if one.since]
    assert (told.expectation, told.verdict) == ("canonical.people.title_null_share", "breach")
    assert night.breached.rows("select found_by, place, open from marts.mart_operations__quality") == [
        ("gate", "canonical", 1)
    ]


def test_the_pages_of_a_breach_fetch_nothing_and_name_nobody(night: Night) -> None:
    folder = results.pages_of("breached")
    assert folder == home() / "quality" / "breached"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert "held back: 1 of" in index
    pages = {file: file.read_text(encoding="utf-8") for file in folder.glob("*/*.html")}
    assert {file.name for file in pages} == {"raw.html", "canonical.html", "candidates.html"}
    for file, page in pages.items():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert "default-src 'none'" in page
        assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=.https?:", page)
        assert "unexpected Exception" not in page
    (breach,) = [page for page in pages.values() if ">breach<" in page]
    assert "share of people without title" in breach
    assert "clarity mapping show" in breach
    everything = "".join([index, *pages.values()])
    for person in companies.read_world(night.breached.folder).people:
        assert not person.email or person.email not in everything
    for account in companies.read_world(night.breached.folder).accounts:
        assert account.name not in everything


def test_pages_are_of_the_last_three_runs_and_of_those_held_back(night: Night) -> None:
    tenant = night.breached.tenant
    with database.run_session(tenant.id) as connection:
        for number in range(5):
            connection.execute(
                "insert into quality.expectation_results (tenant_id, run_id, suite, expectation, observed, lower_bound,"
                " verdict, sentence, remedy, checked_at) values (%s, %s, 'raw', 'raw.files.arrived', 1, 1, 'pass',"
                " 'it arrived', 'nothing', now() + make_interval(mins => %s))",
                [tenant.id, f"later {number}", number + 1],
            )
    index = quality_pages.make(tenant.id, tenant.slug)
    text = index.read_text(encoding="utf-8")
    assert [number for number in range(5) if f"later {number}" in text] == [2, 3, 4]
    assert text.count("held back:") == 1
    assert len([path for path in index.parent.iterdir() if path.is_dir()]) == 4
    made = {path: path.stat().st_mtime_ns for path in index.parent.glob("*/*.html")}
    quality_pages.make(tenant.id, tenant.slug)
    assert {path: path.stat().st_mtime_ns for path in index.parent.glob("*/*.html")} == made


def test_only_who_makes_scores_may_say_that_a_breach_is_right(night: Night) -> None:
    members.add(night.breached.tenant.id, "vic", "viewer", actor=ACTOR)
    with pytest.raises(ClarityError, match=r"quality\.accept needs the role manager"):
        pipeline.publish_waiting("breached", actor="vic", accept_because="I like it")
    assert night.breached.scores() == night.before["breached"]


def test_what_was_held_back_is_published_once_somebody_says_that_it_is_right(night: Night) -> None:
    with pytest.raises(Breach):
        pipeline.publish_waiting("breached", actor=ACTOR)
    done = pipeline.publish_waiting("breached", actor=ACTOR, accept_because="we stopped asking for it")
    assert done["moved"] > 0
    assert night.breached.scores() != night.before["breached"]
    assert night.breached.rows("select open from marts.mart_operations__quality") == [(0,)]
    (incident,) = incidents.recent(night.breached.tenant.id, actor=ACTOR)
    assert incident.recovered_at is not None
    with pytest.raises(ClarityError, match="nothing waits to be published"):
        pipeline.publish_waiting("breached", actor=ACTOR)


def test_without_a_fresh_source_that_the_tenant_requires_nothing_is_published(night: Night) -> None:
    tenant, good = night.healthy.tenant, night.healthy.scores()
    settings.change(tenant.id, actor=ACTOR, assignments=['quality.requiredSources=["files"]'])
    with database.control_session(tenant.id) as connection:
        connection.execute("update control.connectors set last_sync_at = now() - interval '5 days'")
    pipeline.score(tenant.slug, "rescore", TODAY + timedelta(days=2))
    with pytest.raises(Breach, match=r"hours since files was last read to its end: 120, expected at most 48"):
        pipeline.publish(tenant.slug, "rescore")
    pipeline.conclude(tenant.slug, "rescore")
    assert night.healthy.scores() == good
    (incident,) = incidents.recent(tenant.id, actor=ACTOR)
    assert (incident.stage, incident.severity) == ("quality", "failure")
    assert "`clarity connector test healthy files` says what is wrong" in incident.reason


def test_a_tenant_that_is_deleted_takes_its_pages_along(platform: Path) -> None:
    tenant_id = provision.create_tenant("Short lived", "short_lived", actor=ACTOR)
    index = quality_pages.make(tenant_id, "short_lived")
    assert index.is_file()
    tenants.delete(tenant_id, actor=ACTOR)
    assert not index.parent.exists()
