"""Records of the files connector as they lie in raw: companies, their people, and what these did in a year.

Made inside the database, since nobody is measured at it. The same numbers make the same world.
"""

import psycopg

PEOPLE_PER_ACTIVITY, ACCOUNTS_PER_PERSON = 0.1, 0.05
MINUTES_OF_A_YEAR = 365 * 24 * 60

ACCOUNT = """jsonb_build_object(
    'id', 'A' || n, 'name', 'Company ' || n, 'domain', 'company' || n || '.example',
    'industry', (array['Software', 'Retail', 'Energy', 'Logistics'])[1 + n %% 4],
    'employee_count', 10 + n %% 5000, 'annual_revenue', 1000000 + n * 1000)"""
PERSON = """jsonb_build_object(
    'id', 'P' || n, 'account_id', 'A' || 1 + n %% %(accounts)s,
    'email', 'person' || n || '@company' || 1 + n %% %(accounts)s || '.example',
    'first_name', 'Given' || n %% 1000, 'last_name', 'Family' || n,
    'title', (array['CEO', 'Head of Sales', 'Engineer', 'Buyer'])[1 + n %% 4])"""
# in the order of time, as they happen; who did it is as good as random
ACTIVITY = """jsonb_build_object(
    'id', 'E' || n, 'person_id', 'P' || 1 + abs(hashint8(n)::bigint) %% %(people)s,
    'type', (array['page_view', 'email_open', 'email_click', 'form_fill', 'meeting_attend'])[1 + n %% 5],
    'occurred_at', to_char(
        timestamp '2025-03-01' + make_interval(mins => (n * %(minutes)s / %(activities)s)::int),
        'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'properties', jsonb_build_object('url', '/page/' || n %% 50))"""
STREAMS = {"accounts": ACCOUNT, "people": PERSON, "activities": ACTIVITY}

LAND = """
insert into raw.files__{stream} (tenant_id, record_id, payload, payload_hash, source_updated_at, sync_id, seq)
select
    %(tenant)s, made.payload ->> 'id', made.payload, decode(md5(made.payload::text), 'hex'),
    timestamptz '2026-03-01', 'bench', made.n
from (select n, {payload} as payload from generate_series(%(first)s::bigint, %(last)s::bigint) as n) as made
"""
NUMBERED = """
insert into control.stream_states (tenant_id, connector_id, connector, stream, last_seq)
values (%(tenant)s, %(connector)s, 'files', %(stream)s, %(last)s)
on conflict (tenant_id, connector, stream) do update set last_seq = excluded.last_seq
"""


def numbers(activities: int) -> dict[str, int]:
    """How many records of each stream belong to a year with so many activities."""
    people = max(10, int(activities * PEOPLE_PER_ACTIVITY))
    return {"accounts": max(1, int(people * ACCOUNTS_PER_PERSON)), "people": people, "activities": activities}


def land(
    admin: psycopg.Connection, tenant_id: str, connector_id: str, stream: str, first: int, last: int, of: int
) -> None:
    """Records first to last of a world whose first year has `of` activities, numbered as landing numbers them."""
    about = {"tenant": tenant_id, "connector": connector_id, "stream": stream, "first": first, "last": last}
    with admin.transaction():
        admin.execute(NUMBERED.encode(), about)
        admin.execute(
            LAND.format(stream=stream, payload=STREAMS[stream]).encode(),
            {**about, **numbers(of), "minutes": MINUTES_OF_A_YEAR},
        )
    admin.execute(f"vacuum analyze raw.files__{stream}".encode())
