"""The scoring step: the same however it is split, interrupted or repeated, and no row more than what moved."""

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from benchmarks import score_world
from benchmarks.score_world import AS_OF, World
from control import groups, settings
from steps import pipeline, provision, publish, score, score_inputs
from tests.conftest import Tenant
from warehouse import database, lease

PEOPLE = 300
ACTOR = "system:tests"
CONTENT = {
    "engagements": "to_jsonb(e) - 'scored_at' - 'created_at' - 'updated_at'",
    "buying_groups": "to_jsonb(e) - 'created_at' - 'updated_at'",
    "buying_group_members": "to_jsonb(e) - 'created_at' - 'updated_at'",
}


@pytest.fixture
def admin(platform: object) -> Iterator[psycopg.Connection]:
    with database.connect(database.admin_conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def people(tenant: Tenant, admin: psycopg.Connection) -> Tenant:
    """A tenant with people at companies, leads, deals, and consultants who are contacts in other companies' deals."""
    score_world.fill(admin, tenant.id, World(PEOPLE))
    admin.execute(
        "insert into rollups.rollup_opportunity_contacts (tenant_id, opportunity_id, person_id, role)"
        " select o.tenant_id, o.id, p.id, 'champion' from canonical.opportunities as o"
        " cross join lateral (select id from canonical.people as p where p.tenant_id = o.tenant_id"
        " and p.account_id is distinct from o.account_id order by md5(o.id || p.id) limit 1) as p"
        " where o.tenant_id = %s",
        [tenant.id],
    )
    return tenant


def run(tenant: Tenant, as_of: date = AS_OF, run_id: str = "run") -> tuple[dict[str, Any], dict[str, int]]:
    with lease.hold(tenant.id, "tests", stage="score") as held:
        made = score.run(tenant.id, run_id, held.fence, as_of)
        return made, publish.run(tenant.id, run_id, held.fence)


def content(admin: psycopg.Connection, tenant: Tenant, *, versions: bool = False) -> dict[str, list[Any]]:
    return {
        table: admin.execute(
            f"select {columns} {', xmin::text' if versions else ''} from scores.{table} as e"
            f" where tenant_id = %s order by id".encode(),
            [tenant.id],
        ).fetchall()
        for table, columns in CONTENT.items()
    }


def forget(admin: psycopg.Connection, tenant: Tenant, *tables: str) -> None:
    for table in tables:
        admin.execute(f"delete from scores.{table} where tenant_id = %s".encode(), [tenant.id])


def one(admin: psycopg.Connection, query: str, tenant: Tenant) -> Any:
    row = admin.execute(query.encode(), {"tenant": tenant.id}).fetchone()
    assert row is not None
    return row[0]


def test_scoring_everything_again_on_the_same_day_touches_no_row(people: Tenant, admin: psycopg.Connection) -> None:
    made, _ = run(people)
    assert made["scored"] == {"account": 30, "person": PEOPLE, "opportunity": 9}
    before = content(admin, people, versions=True)
    forget(admin, people, "scoring_marks")
    made, published = run(people)
    assert made["candidates"] == 339
    assert published["moved"] == published["history"] == published["groups"] == published["members"] == 0
    assert content(admin, people, versions=True) == before


def test_scores_and_groups_are_the_same_bytes_however_they_are_split(
    people: Tenant, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(people)
    whole = content(admin, people)
    assert all(whole.values())
    forget(admin, people, "scoring_marks", "engagements", "score_history", "buying_groups")
    monkeypatch.setattr(score_inputs, "PORTION", 7)
    run(people)
    assert content(admin, people) == whole


NEWS: dict[str, str] = {
    "somebody did something": """
        with done as (
            insert into rollups.rollup_person_signals_daily (tenant_id, person_id, signal, day, count, known_since)
            select tenant_id, id, 'demo_request', '2026-03-10', 2, now() from canonical.people
            where tenant_id = %(tenant)s order by id limit 1 returning tenant_id, person_id, array[day] as days
        ), noted as (insert into canonical.touched_person_days select * from done)
        select
    """,
    "somebody changed companies": """
        update canonical.people as p set account_id = (
            select a.id from canonical.accounts as a
            where a.tenant_id = %(tenant)s and a.id is distinct from p.account_id order by a.id desc limit 1
        ) where p.id = (select max(id) from canonical.people where tenant_id = %(tenant)s)
    """,
    "somebody was promoted": """
        update canonical.people set title = 'CEO' where id = (
            -- whose title alone speaks for the role, and who has an address to be known by
            select min(p.id) from canonical.people as p
            join scores.buying_group_members as m on m.tenant_id = p.tenant_id and m.person_id = p.id
            where p.tenant_id = %(tenant)s and p.title = 'Software Engineer' and p.email is not null
                and m.role_source = 'title'
        )
    """,
    "an index of identities says the same of somebody": """
        insert into canonical.profiles (id, tenant_id, email, title, source)
        select 'p ' || id, tenant_id, email, title, 'delivrai' from canonical.people
        where id = (
            -- whose title alone speaks for the role, and who has an address to be known by
            select min(p.id) from canonical.people as p
            join scores.buying_group_members as m on m.tenant_id = p.tenant_id and m.person_id = p.id
            where p.tenant_id = %(tenant)s and p.title = 'Software Engineer' and p.email is not null
                and m.role_source = 'title'
        )
    """,
    "somebody left the CRM": """
        update canonical.people set deleted_at = now()
        where id = (select min(id) from canonical.people where tenant_id = %(tenant)s and account_id is not null)
    """,
    "somebody was erased": """
        delete from canonical.people
        where id = (select min(id) from canonical.people where tenant_id = %(tenant)s and account_id is not null)
    """,
    "a contact in another company's deal was erased": """
        delete from canonical.people as p
        using rollups.rollup_opportunity_contacts as c, canonical.opportunities as o
        where c.tenant_id = %(tenant)s and p.id = c.person_id and o.id = c.opportunity_id
            and p.account_id <> o.account_id
    """,
    "a company grew": """
        update canonical.accounts set employee_count = 7, industry = 'Mining'
        where id = (select min(id) from canonical.accounts where tenant_id = %(tenant)s)
    """,
    "a deal has another contact": """
        with named as (
            delete from rollups.rollup_opportunity_contacts as c using (
                select opportunity_id, person_id from rollups.rollup_opportunity_contacts
                where tenant_id = %(tenant)s order by 1, 2 limit 1
            ) as d where c.opportunity_id = d.opportunity_id and c.person_id = d.person_id
            returning c.tenant_id, c.opportunity_id
        )
        insert into rollups.rollup_opportunity_attributes (
            tenant_id, opportunity_id, account_id, is_deleted, known_since
        )
        select n.tenant_id, n.opportunity_id, o.account_id, false, now()
        from named as n join canonical.opportunities as o on o.id = n.opportunity_id
    """,
    "a deal closed": """
        with closed as (
            update rollups.rollup_opportunity_facts set is_closed = true
            where tenant_id = %(tenant)s returning tenant_id, opportunity_id, account_id
        )
        insert into rollups.rollup_opportunity_attributes (
            tenant_id, opportunity_id, account_id, is_deleted, known_since
        )
        select tenant_id, opportunity_id, account_id, false, now() from closed
    """,
}


@pytest.mark.parametrize("what", NEWS)
def test_scoring_only_what_changed_comes_to_the_same_as_scoring_everything(
    people: Tenant, admin: psycopg.Connection, what: str
) -> None:
    run(people)
    before = content(admin, people)
    admin.execute(NEWS[what].encode(), {"tenant": people.id})
    # as the rollup does with the days that it has recounted
    admin.execute("delete from canonical.touched_person_days where tenant_id = %s", [people.id])
    made, _ = run(people)
    assert 0 < made["scored"]["person"] < PEOPLE * 0.7
    after = content(admin, people, versions=True)
    assert content(admin, people) != before
    forget(admin, people, "scoring_marks")
    run(people)
    assert content(admin, people, versions=True) == after


def test_with_nothing_new_on_the_same_day_nothing_is_scored(people: Tenant) -> None:
    run(people)
    assert run(people) == (
        {"as_of": "2026-03-10", "scored": {}, "candidates": 0, "kept": True},
        publish.NOTHING,
    )


def test_the_next_day_rewrites_the_scores_that_sank_and_leaves_the_others(
    people: Tenant, admin: psycopg.Connection
) -> None:
    run(people)
    values = "array_agg(row(entity_id, fit_score, engagement_score, combined_score, tier)::text order by id)"
    query = f"select {values} from scores.engagements where tenant_id = %(tenant)s"
    before = one(admin, query, people)
    made, published = run(people, AS_OF + timedelta(days=1))
    after = one(admin, query, people)
    moved = sum(old != new for old, new in zip(before, after, strict=True))
    assert made["scored"]["person"] == PEOPLE
    assert 0 < moved < len(after)
    assert published["moved"] == moved
    rewritten = "select count(*) from scores.engagements where tenant_id = %(tenant)s and as_of > '2026-03-10'"
    assert one(admin, rewritten, people) == moved


def test_a_score_that_is_rewritten_stays_on_its_page(people: Tenant, admin: psycopg.Connection) -> None:
    run(people)
    query = (
        "select count(*) from scores.engagements where tenant_id = %(tenant)s and as_of > '2026-03-10'"
        " and (ctid::text::point)[0] = any (%(pages)s)"
    )
    pages = [
        page
        for (page,) in admin.execute(
            "select distinct (ctid::text::point)[0] from scores.engagements where tenant_id = %s", [people.id]
        )
    ]
    _, published = run(people, AS_OF + timedelta(days=1))
    stayed = admin.execute(query.encode(), {"tenant": people.id, "pages": pages}).fetchone()
    assert stayed is not None
    assert stayed[0] > published["moved"] * 0.9


def test_no_index_of_scores_must_be_told_of_a_score_that_sank_within_its_tier(admin: psycopg.Connection) -> None:
    told = admin.execute(
        "select array_agg(distinct a.attname::text order by a.attname::text) from pg_index as i"
        " join pg_class as c on c.oid = i.indexrelid join pg_am as m on m.oid = c.relam"
        " cross join unnest(i.indkey::int[]) as k (attnum)"
        " join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum"
        " where i.indrelid = 'scores.engagements'::regclass and m.amname <> 'brin'"
    ).fetchone()
    assert told == (["entity_id", "entity_type", "id", "tenant_id", "tier"],)


def test_history_tells_what_moved_by_a_point_since_it_last_told_something(
    people: Tenant, admin: psycopg.Connection
) -> None:
    for day in (0, 1, 2, 4, 9):
        run(people, AS_OF + timedelta(days=day))
    told = "(fit_score, engagement_score, combined_score, tier)"
    last = f"""
        select count(*) from scores.engagements as e cross join lateral (
            select * from scores.score_history as h
            where h.tenant_id = e.tenant_id and h.entity_type = e.entity_type and h.entity_id = e.entity_id
            order by as_of desc limit 1
        ) as h
        where e.tenant_id = %(tenant)s and (e.told_fit_score, e.told_engagement_score, e.told_combined_score,
            e.told_tier) is not distinct from {told.replace("(", "(h.").replace(", ", ", h.")}
            and e.tier = h.tier and abs(e.engagement_score - h.engagement_score) < 1
            and abs(e.combined_score - h.combined_score) < 1
    """
    assert one(admin, last, people) == 339
    idle = """
        with steps as (
            select *, lag(engagement_score) over told as engagement_before, lag(combined_score) over told as before,
                lag(tier) over told as tier_before
            from scores.score_history where tenant_id = %(tenant)s
            window told as (partition by entity_type, entity_id order by as_of)
        )
        select count(*) filter (where abs(engagement_score - engagement_before) < 1 and abs(combined_score - before) < 1
            and tier = tier_before), count(tier_before) > 0
        from steps
    """
    assert admin.execute(idle.encode(), {"tenant": people.id}).fetchone() == (0, True)


def test_a_score_that_is_changed_by_hand_tells_when_it_was(people: Tenant, admin: psycopg.Connection) -> None:
    run(people)
    query = "select array_agg(updated_at > scored_at order by id) from scores.engagements where tenant_id = %(tenant)s"
    assert not any(one(admin, query, people))
    admin.execute("update scores.engagements set told_fit_score = -1 where tenant_id = %s", [people.id])
    assert all(one(admin, query, people))


def test_a_portion_that_the_database_refuses_ends_the_run_and_leaves_no_mark(
    people: Tenant, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(people)
    before = content(admin, people, versions=True)
    monkeypatch.setattr(score_inputs, "PORTION", 100)
    monkeypatch.setattr(score, "_TAKEN_OVER", score._TAKEN_OVER.replace("scored.*", "scored.*, 1/0"))
    with lease.hold(people.id, "tests", stage="score") as held, pytest.raises(psycopg.Error, match="INSERT has more"):
        score.run(people.id, "refused", held.fence, AS_OF + timedelta(days=1))
    marks = "select run_id || is_published from scores.scoring_marks where tenant_id = %(tenant)s"
    assert one(admin, marks, people) == "runtrue"
    assert content(admin, people, versions=True) == before


def test_other_rules_score_everything_anew(people: Tenant, admin: psycopg.Connection) -> None:
    run(people)
    provision.set_scoring_config(people.id, "engagement", {"saturation": 5.0}, actor=ACTOR)
    made, published = run(people)
    assert made["candidates"] == published["moved"] == 339


def test_a_reader_during_a_publication_sees_all_of_the_old_or_all_of_the_new(people: Tenant) -> None:
    run(people)
    seen: list[tuple[Any, ...]] = []
    first, done = threading.Event(), threading.Event()

    def read() -> None:
        with database.run_session(people.id, autocommit=True) as connection:
            while True:
                last = done.is_set()
                seen.append(
                    connection.execute(
                        "select min(score_version), max(score_version), count(*),"
                        " (select min(completeness_score) from scores.buying_groups) from scores.engagements"
                    ).fetchall()[0]
                )
                first.set()
                if last:
                    return

    provision.set_scoring_config(people.id, "engagement", {"saturation": 5.0}, actor=ACTOR)
    with lease.hold(people.id, "tests", stage="score") as held:
        score.run(people.id, "next", held.fence, AS_OF)
        reader = threading.Thread(target=read)
        reader.start()
        first.wait(10)
        publish.run(people.id, "next", held.fence)
        done.set()
        reader.join(10)
    assert {row[:3] for row in seen} == {(1, 1, 339), (2, 2, 339)}
    assert len({row[3] for row in seen}) <= 2


def test_a_run_killed_between_candidates_and_publication_loses_nothing(
    people: Tenant, admin: psycopg.Connection
) -> None:
    run(people)
    before = content(admin, people, versions=True)
    admin.execute(NEWS["a company grew"].encode(), {"tenant": people.id})
    with lease.hold(people.id, "tests", stage="score") as held:
        score.run(people.id, "killed", held.fence, AS_OF)
    assert content(admin, people, versions=True) == before
    run(people, run_id="after")
    after = content(admin, people, versions=True)
    assert after != before
    forget(admin, people, "scoring_marks")
    assert run(people)[1]["moved"] == 0


def test_candidates_that_a_crash_of_the_server_took_are_made_again_and_not_published_as_none(
    people: Tenant, admin: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with lease.hold(people.id, "tests", stage="score") as held:
        score.run(people.id, "crashed", held.fence, AS_OF)
        forget(admin, people, "score_candidates")
        with pytest.raises(publish.CandidatesLost, match="of the 339 candidates of this run the database has 0"):
            publish.run(people.id, "crashed", held.fence)
    assert pipeline.publish(people.slug, "crashed")["moved"] == 339
    pipeline.conclude(people.slug, "crashed")
    assert f"it crashed since they were made; scoring again as of {AS_OF}" in capsys.readouterr().out
    before = content(admin, people, versions=True)
    assert run(people)[1]["moved"] == 0
    assert content(admin, people, versions=True) == before


@pytest.mark.parametrize("days", [0, 1], ids=["the same day", "another day"])
def test_candidates_that_are_made_again_are_those_that_were_lost(
    people: Tenant, admin: psycopg.Connection, days: int
) -> None:
    run(people)
    admin.execute(NEWS["a company grew"].encode(), {"tenant": people.id})
    with lease.hold(people.id, "tests", stage="score") as held:
        score.run(people.id, "crashed", held.fence, AS_OF + timedelta(days=days))
        made = candidates(admin, people)
        assert 0 < len(made["score_candidates"]) < 339
        forget(admin, people, *publish.CANDIDATE_TABLES)
        score.run(people.id, "crashed", held.fence, AS_OF + timedelta(days=days))
        assert candidates(admin, people) == made
        publish.run(people.id, "crashed", held.fence)
    # nothing of it is kept for a run that is over
    kept = "select before is not null or news <> '{}' from scores.scoring_marks where tenant_id = %(tenant)s"
    assert one(admin, kept, people) is False


def candidates(admin: psycopg.Connection, tenant: Tenant) -> dict[str, list[Any]]:
    return {
        table: admin.execute(
            f"select * from scores.{table} as t where tenant_id = %s order by t::text".encode(), [tenant.id]
        ).fetchall()
        for table in publish.CANDIDATE_TABLES
    }


def test_a_deleted_person_has_no_score_any_more(people: Tenant, admin: psycopg.Connection) -> None:
    run(people)
    admin.execute(NEWS["somebody left the CRM"].encode(), {"tenant": people.id})
    assert run(people)[1]["vanished"] == 1


# --- buying groups ---------------------------------------------------------------------------------------------------


def test_groups_that_were_changed_day_by_day_are_those_formed_from_nothing(
    people: Tenant, admin: psycopg.Connection
) -> None:
    news = ("somebody changed companies", "somebody was promoted", "somebody left the CRM", "somebody was erased")
    run(people)
    first = content(admin, people)["buying_group_members"]
    for day, what in enumerate(news, start=1):
        admin.execute(NEWS[what].encode(), {"tenant": people.id})
        _, published = run(people, AS_OF + timedelta(days=day))
        assert 0 < published["members"] < len(first)
    changed = content(admin, people)
    del changed["engagements"]
    assert changed["buying_group_members"] != first
    forget(admin, people, "scoring_marks", "buying_groups")
    run(people, AS_OF + timedelta(days=len(news)))
    assert {table: content(admin, people)[table] for table in changed} == changed


def test_members_are_looked_up_all_at_once_whatever_the_planner_knows(people: Tenant) -> None:
    # of a table that was empty a moment ago any index is as good, and a look-up per row may read all of it
    with database.run_session(people.id) as connection:
        for statement in (publish.GROUPS, publish.NEW_MEMBERS):
            plan = connection.execute(f"explain {statement}".encode(), {"tenant": people.id}).fetchall()
            assert not any("SubPlan" in line for (line,) in plan)


@pytest.fixture
def member(people: Tenant, admin: psycopg.Connection) -> tuple[str, str]:
    """A group and somebody in it whose role is another than coach."""
    run(people)
    row = admin.execute(
        "select buying_group_id, person_id from scores.buying_group_members where tenant_id = %s"
        " and role = 'economic_buyer' and role_confidence < 1 order by id limit 1",
        [people.id],
    ).fetchone()
    assert row is not None
    return row


def standing(admin: psycopg.Connection, member: tuple[str, str]) -> tuple[Any, ...] | None:
    return admin.execute(
        "select role, role_confidence::float8, role_source, is_confirmed from scores.buying_group_members"
        " where buying_group_id = %s and person_id = %s",
        member,
    ).fetchone()


def test_a_confirmed_role_is_kept_by_every_run_until_it_is_withdrawn(
    people: Tenant, admin: psycopg.Connection, member: tuple[str, str]
) -> None:
    by_evidence = standing(admin, member)
    assert groups.confirm(people.id, *member, "coach", actor=ACTOR)
    assert not groups.confirm(people.id, *member, "coach", actor=ACTOR)
    run(people)
    assert standing(admin, member) == ("coach", 1.0, "confirmed", True)
    # whatever else is known of them now
    admin.execute("update canonical.people set title = 'CFO' where id = %s", [member[1]])
    run(people, AS_OF + timedelta(days=1))
    assert standing(admin, member) == ("coach", 1.0, "confirmed", True)
    assert groups.withdraw(people.id, *member, actor=ACTOR)
    assert not groups.withdraw(people.id, *member, actor=ACTOR)
    run(people)
    assert by_evidence is not None
    now = standing(admin, member)
    assert now is not None
    assert (now[0], now[3]) == (by_evidence[0], False)
    trail = admin.execute(
        "select action, changes #>> '{after,role}' from control.audit_log where tenant_id = %s"
        " and resource = 'buying_group_member' order by seq",
        [people.id],
    ).fetchall()
    assert trail == [("group.confirm", "coach"), ("group.withdraw", "coach")]


def test_a_confirmed_role_completes_its_group(
    people: Tenant, admin: psycopg.Connection, member: tuple[str, str]
) -> None:
    def completeness() -> float:
        return float(
            one(admin, f"select completeness_score from scores.buying_groups where id = '{member[0]}'", people)
        )

    before = completeness()
    groups.confirm(people.id, *member, "economic_buyer", actor=ACTOR)
    run(people)
    assert completeness() > before


def test_somebody_discovered_becomes_the_person_whom_the_crm_learns_of(
    people: Tenant, admin: psycopg.Connection, member: tuple[str, str]
) -> None:
    group = member[0]
    admin.execute(
        "insert into scores.buying_group_members (id, tenant_id, buying_group_id, discovered_email, is_discovered,"
        " discovery_source) values ('found', %s, %s, 'New@Company.example', true, 'partner')",
        [people.id, group],
    )
    run(people, AS_OF + timedelta(days=1))
    found = "select coalesce(person_id, discovered_email) from scores.buying_group_members where id = 'found'"
    assert one(admin, found, people) == "New@Company.example"
    admin.execute(
        "insert into canonical.people (id, tenant_id, account_id, email, external_id)"
        " select 'new', tenant_id, account_id, 'new@company.EXAMPLE', 'new' from scores.buying_groups where id = %s",
        [group],
    )
    run(people, AS_OF + timedelta(days=1))
    assert one(admin, found, people) == "new"
    twice = f"select count(*) from scores.buying_group_members where buying_group_id = '{group}' and person_id = 'new'"
    assert one(admin, twice, people) == 1


def test_whom_an_index_of_identities_alone_knows_is_a_member_with_the_part_that_their_title_suggests(
    people: Tenant, admin: psycopg.Connection, member: tuple[str, str]
) -> None:
    told = "from scores.buying_groups where id = %s"
    admin.execute(
        "insert into canonical.activities (id, tenant_id, account_id, type, occurred_at, source, person_ref,"
        " properties) select 'found', tenant_id, account_id, 'intent_signal', '2026-03-09', 'delivrai',"
        f""" 'email:' || md5('ada@company.example'), '{{"address": "Ada@Company.example"}}' {told}""".encode(),
        [member[0]],
    )
    query = (
        "select array_agg(row(discovery_source, role, role_source)::text) from scores.buying_group_members"
        " where tenant_id = %(tenant)s and discovered_email = 'ada@company.example'"
    )
    run(people)
    assert one(admin, query, people) == ["(delivrai,unknown,)"]
    admin.execute(
        "insert into canonical.profiles (id, tenant_id, email, title, source)"
        f" select 'found', tenant_id, 'ada@company.example', 'Chief Financial Officer', 'delivrai' {told}".encode(),
        [member[0]],
    )
    run(people)
    assert one(admin, query, people) == ["(delivrai,economic_buyer,delivrai)"]
    admin.execute("delete from canonical.activities where id = 'found'")
    run(people)
    assert one(admin, query, people) is None


def test_a_deals_solution_has_a_group_of_its_own_while_it_is_open(people: Tenant, admin: psycopg.Connection) -> None:
    admin.execute(
        """update canonical.opportunities set source_data = '{"Solution__c": "Payroll"}' where tenant_id = %s""",
        [people.id],
    )
    settings.change(people.id, actor=ACTOR, assignments=["buyingGroups.solutionField=Solution__c"])
    tagged = "select count(*) from scores.buying_groups where tenant_id = %(tenant)s and solution_tag = 'Payroll'"
    run(people)
    assert one(admin, tagged, people) == 9
    admin.execute(NEWS["a deal closed"].encode(), {"tenant": people.id})
    run(people)
    assert one(admin, tagged, people) == 0


def test_a_tenant_that_wants_no_buying_groups_has_none(people: Tenant, admin: psycopg.Connection) -> None:
    settings.change(people.id, actor=ACTOR, assignments=["features.buyingGroups=false"])
    _, published = run(people)
    assert published["moved"] == 339
    assert one(admin, "select count(*) from scores.buying_groups where tenant_id = %(tenant)s", people) == 0
