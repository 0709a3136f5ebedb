"""The invented world: the same for the same seed, larger with time, believable, and nothing in it real."""

from collections import Counter
from datetime import date
from itertools import combinations
from pathlib import Path

import pytest

from sandbox.companies import CHANNELS, Company, advance, generate, made, read_world, write_csv
from sandbox.demo_tenants import DEMO_TENANTS, DemoTenant

TODAY = date(2026, 3, 10)


def company(tenant: DemoTenant, today: date = TODAY) -> Company:
    return generate(tenant.seed, tenant.accounts, today, market=tenant.market)


@pytest.fixture(scope="module")
def smallest() -> Company:
    return company(DEMO_TENANTS[2])


@pytest.fixture(scope="module", params=DEMO_TENANTS, ids=lambda tenant: tenant.slug)
def each(request: pytest.FixtureRequest) -> Company:
    tenant: DemoTenant = request.param
    return company(tenant)


def test_the_same_seed_and_day_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        made.cache_clear()
        write_csv(tmp_path / folder, company(DEMO_TENANTS[1]))
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_another_seed_gives_another_world() -> None:
    assert generate(1, 5, TODAY).people != generate(2, 5, TODAY).people


def test_a_world_is_read_back_from_its_folder(tmp_path: Path, smallest: Company) -> None:
    write_csv(tmp_path, smallest)
    made.cache_clear()
    assert read_world(tmp_path) == smallest


@pytest.mark.parametrize("days", [1, 30, 200])
def test_time_adds_to_the_world_and_takes_nothing_back(smallest: Company, days: int) -> None:
    later = advance(smallest, days)
    assert set(smallest.activities) < set(later.activities)
    assert set(smallest.people) <= set(later.people)
    for kind in ("accounts", "opportunities"):
        before, after = ({row.id for row in getattr(world, kind)} for world in (smallest, later))
        assert before <= after


def test_two_steps_in_time_lead_where_one_leads(smallest: Company) -> None:
    in_two_steps = advance(advance(smallest, 11), 20)
    made.cache_clear()
    assert in_two_steps == advance(smallest, 31)


def test_deals_move_forward_and_a_closed_one_stays_closed(smallest: Company) -> None:
    order = ["Prospecting", "Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost"]
    later = {deal.id: deal for deal in advance(smallest, 60).opportunities}
    moved = 0
    for deal in smallest.opportunities:
        assert order.index(later[deal.id].stage) >= order.index(deal.stage)
        assert deal.is_closed == "false" or later[deal.id] == deal
        assert later[deal.id].stage_changed_at >= deal.stage_changed_at
        moved += later[deal.id].stage != deal.stage
    assert moved >= 3


def test_nothing_has_happened_before_its_time(each: Company) -> None:
    for activity in each.activities:
        assert "2025-03-10" <= activity.occurred_at[:10] < TODAY.isoformat()
    for rows in (each.accounts, each.people, each.opportunities):
        assert all(row.updated_at[:10] < TODAY.isoformat() for row in rows)


def test_ids_are_unique_and_references_lead_somewhere(each: Company) -> None:
    accounts, people = ({row.id for row in rows} for rows in (each.accounts, each.people))
    for kind in (each.accounts, each.people, each.opportunities, each.activities):
        assert len({row.id for row in kind}) == len(kind)
    assert {person.account_id for person in each.people} <= accounts | {""}
    assert {deal.account_id for deal in each.opportunities} <= accounts
    assert {contact for deal in each.opportunities for contact in deal.contact_ids.split(";")} <= people
    assert {activity.account_id for activity in each.activities} <= accounts
    assert {activity.person_id for activity in each.activities} <= people | {""}


def test_company_names_and_mailboxes_are_not_shared(each: Company) -> None:
    assert len({account.name for account in each.accounts}) == len(each.accounts)
    mailboxes = [person.email for person in each.people if person.email]
    assert len(set(mailboxes)) == len(mailboxes)


def test_every_domain_is_an_example(each: Company) -> None:
    assert all(account.domain.endswith(".example") for account in each.accounts if account.domain)
    assert all(person.email.endswith(".example") and person.email.isascii() for person in each.people if person.email)


def test_a_tenant_has_some_five_thousand_activities_a_year_of_every_kind(each: Company) -> None:
    assert 3_500 <= len(each.activities) <= 7_500
    assert {activity.type for activity in each.activities} == set(CHANNELS)
    assert all(activity.channel == CHANNELS[activity.type] for activity in each.activities)


def test_some_of_what_one_would_like_to_know_is_missing_and_most_is_there(each: Company) -> None:
    for rows, column in (
        (each.accounts, "annual_revenue"),
        (each.people, "title"),
        (each.people, "email"),
        (each.people, "phone"),
        (each.people, "account_id"),
    ):
        missing = sum(not getattr(row, column) for row in rows) / len(rows)
        assert 0 < missing < 0.65, column


def test_titles_span_from_the_board_to_the_desk(each: Company) -> None:
    titles = " ".join(person.title for person in each.people)
    for word in ("Chief", "VP", "Director", "Manager", "Analyst"):
        assert word in titles
    assert max(Counter(person.title for person in each.people if person.title).values()) < len(each.people) / 5


def test_german_names_keep_their_umlauts_and_spell_them_out_in_addresses() -> None:
    people = company(DEMO_TENANTS[1]).people
    assert any(person.last_name == "Müller" and ".mueller" in person.email for person in people)


def test_whoever_is_about_to_sign_is_busier_than_whoever_nobody_talks_to(each: Company) -> None:
    open_deals = {
        deal.account_id
        for deal in each.opportunities
        if deal.is_closed == "false" and deal.stage_changed_at < "2026-02-28" and deal.stage != "Prospecting"
    }
    lately = Counter(activity.account_id for activity in each.activities if activity.occurred_at >= "2026-02-28")
    others = [account.id for account in each.accounts if account.id not in open_deals]
    busy, quiet = (sum(lately[account] for account in group) / len(group) for group in (open_deals, others))
    assert busy > 2 * quiet


def test_nobody_is_mailed_after_unsubscribing_or_bouncing(each: Company) -> None:
    gone: dict[str, str] = {}
    for activity in each.activities:
        if activity.type in ("unsubscribe", "bounce"):
            gone[activity.person_id] = activity.occurred_at[:10]
        elif activity.type in ("email_sent", "email_open", "email_click"):
            assert activity.occurred_at[:10] <= gone.get(activity.person_id, "9999"), activity
    assert gone


def test_the_demo_tenants_differ_in_name_place_and_seed() -> None:
    for one, other in combinations(DEMO_TENANTS, 2):
        assert {one.name, one.slug, one.timezone, one.seed}.isdisjoint(
            {other.name, other.slug, other.timezone, other.seed}
        )


def test_a_world_before_the_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="begins on 2024-01-01"):
        generate(1, 5, date(2024, 6, 1))
