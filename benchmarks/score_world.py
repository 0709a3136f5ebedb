"""A tenant of any size, made in the database itself: people at accounts, what they did each day, and their deals.

The same rows every time. They are what a run finds after its transform, in canonical and in the rollups.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import psycopg

from benchmarks.score_engine import SEEN
from scoring.configs import DEFAULT_SIGNALS

AS_OF = date(2026, 3, 10)
SIGNALS_EACH = 5
PEOPLE_EACH = 10
# Of a hundred accounts, those with an open deal; of a hundred people, those whom no account has.
DEALS_IN_A_HUNDRED, LEADS_IN_A_HUNDRED = 10, 2

TITLES = (
    "CEO", "Geschäftsführer", "CFO", "VP Sales", "VP Sales & Marketing", "Head of IT", "IT Director",
    "Director of Finance", "Directrice Marketing", "Marketing Manager", "Product Manager", "Einkaufsleiter",
    "Legal Counsel", "Software Engineer", "Data Analyst", "Account Executive", "Responsable Achats",
    "Jefe de Compras", "Assistant to the CEO", "Sales Intern",
)  # fmt: skip
INDUSTRIES = ("Software", "Financial Services", "Manufacturing", "Retail", "Healthcare", "Mining")


@dataclass(frozen=True)
class World:
    people: int

    @property
    def accounts(self) -> int:
        return max(1, self.people // PEOPLE_EACH)

    @property
    def daily_rows(self) -> int:
        return self.people * SIGNALS_EACH


def fill(admin: psycopg.Connection, tenant_id: str, world: World) -> None:
    """As the administrator, whom no policy and no trigger of ours slows down. Ids are those of a real tenant: UUIDs."""
    parameters = {
        "tenant": tenant_id,
        "people": world.people,
        "accounts": world.accounts,
        "leads": LEADS_IN_A_HUNDRED,
        "deals": DEALS_IN_A_HUNDRED,
        "titles": list(TITLES),
        "industries": list(INDUSTRIES),
        "as_of": AS_OF,
        "each": SIGNALS_EACH,
        "signals": [name for name in sorted(DEFAULT_SIGNALS) for _ in range(SEEN.get(name, 1))],
    }
    with admin.transaction():
        admin.execute("set local session_replication_role = replica")
        admin.execute("select setseed(0.5)")
        for statement in STATEMENTS:
            admin.execute(statement.encode(), parameters)
    for table in TABLES:
        admin.execute(f"vacuum analyze {table}".encode())


def more_signals(admin: psycopg.Connection, tenant_id: str, world: World) -> None:
    """One person in a hundred did something on the day, and the rollup has just recounted them."""
    admin.execute(MORE, {"tenant": tenant_id, "people": world.people, "as_of": AS_OF})
    admin.execute(RECOUNTED, {"tenant": tenant_id})


def day_after() -> date:
    return AS_OF + timedelta(days=1)


TABLES = (
    "canonical.accounts", "canonical.people", "canonical.opportunities", "rollups.rollup_person_signals_daily",
    "rollups.rollup_opportunity_facts", "rollups.rollup_opportunity_contacts", "rollups.rollup_opportunity_attributes",
)  # fmt: skip

STATEMENTS = (
    """
    insert into canonical.accounts (id, tenant_id, name, domain, industry, employee_count, annual_revenue, external_id)
    select md5(%(tenant)s || 'account' || i)::uuid::text, %(tenant)s, 'Company ' || i, 'company-' || i || '.example',
        (%(industries)s::text[])[1 + floor(random() * 7)::int], (random() * 5000)::int,
        case when random() < 0.8 then round((random() * 200000000)::numeric, -3) end, 'a' || i
    from generate_series(1, %(accounts)s) as i
    """,
    """
    insert into canonical.people (id, tenant_id, account_id, email, first_name, last_name, title, external_id)
    select md5(%(tenant)s || 'person' || i)::uuid::text, %(tenant)s,
        case when i %% 100 >= %(leads)s
            then md5(%(tenant)s || 'account' || 1 + floor(random() * %(accounts)s)::int)::uuid::text end,
        'person' || i || '@company.example', 'First' || i %% 1000, 'Last' || i,
        (%(titles)s::text[])[1 + floor(random() * cardinality(%(titles)s) * 1.1)::int], 'p' || i
    from generate_series(1, %(people)s) as i
    """,
    """
    insert into rollups.rollup_person_signals_daily (tenant_id, person_id, signal, day, count, known_since)
    select distinct on (who, day, signal) %(tenant)s, md5(%(tenant)s || 'person' || who)::uuid::text, signal, day,
        1 + floor(random() * 4)::int, '2026-03-10 00:00+00'
    from (
        select 1 + (i - 1) / %(each)s as who,
            (%(signals)s::text[])[1 + floor(random() * cardinality(%(signals)s))::int] as signal,
            %(as_of)s::date - (least(364, -60 * ln(1 - random())))::int as day
        from generate_series(1, %(people)s::int * %(each)s) as i
    ) as drawn
    """,
    """
    insert into canonical.opportunities (id, tenant_id, account_id, name, stage, external_id)
    select md5(%(tenant)s || 'deal' || i)::uuid::text, %(tenant)s, md5(%(tenant)s || 'account' || i)::uuid::text,
        'Deal ' || i, 'Proposal', 'o' || i
    from generate_series(1, %(accounts)s) as i where i %% 100 < %(deals)s
    """,
    """
    insert into rollups.rollup_opportunity_facts (
        tenant_id, opportunity_id, account_id, stage, is_closed, is_deleted, stage_entered_on, days_in_stage_before
    )
    select tenant_id, id, account_id, stage, false, false, %(as_of)s::date - (random() * 60)::int, 0
    from canonical.opportunities where tenant_id = %(tenant)s order by id
    """,
    """
    insert into rollups.rollup_opportunity_contacts (
        tenant_id, opportunity_id, person_id, role, source_role, is_primary
    )
    select o.tenant_id, o.id, p.id, 'economic_buyer', 'Decision Maker', true
    from canonical.opportunities as o
    cross join lateral (
        select id from canonical.people where account_id = o.account_id and tenant_id = o.tenant_id order by id limit 1
    ) as p
    where o.tenant_id = %(tenant)s
    """,
    """
    insert into rollups.rollup_opportunity_attributes (
        tenant_id, opportunity_id, account_id, stage, is_closed, stage_entered_on, days_in_stage_before, is_deleted,
        known_since
    )
    select tenant_id, opportunity_id, account_id, stage, is_closed, stage_entered_on, days_in_stage_before, is_deleted,
        '2026-03-10 00:00+00'
    from rollups.rollup_opportunity_facts where tenant_id = %(tenant)s
    """,
)

MORE = """
with news as (
    insert into rollups.rollup_person_signals_daily (tenant_id, person_id, signal, day, count, known_since)
    select %(tenant)s, md5(%(tenant)s || 'person' || i)::uuid::text, 'form_fill', %(as_of)s::date, 2,
        '2026-03-10 12:00+00'
    from generate_series(7, %(people)s, 100) as i
    returning tenant_id, person_id, day
)

insert into canonical.touched_person_days (tenant_id, person_id, days)
select tenant_id, person_id, array[day] from news
"""
# what the rollup does with the days that it has recounted
RECOUNTED = "delete from canonical.touched_person_days where tenant_id = %(tenant)s"
