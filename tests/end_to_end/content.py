"""What a tenant's tables say, in words that do not depend on the tenant: the sources' own ids instead of ours."""

import hashlib
from typing import Protocol

from warehouse import database

QUERIES = {
    "raw": """
        select 'accounts', record_id, payload::text, is_deleted from raw.files__accounts
        union all select 'people', record_id, payload::text, is_deleted from raw.files__people
        union all select 'opportunities', record_id, payload::text, is_deleted from raw.files__opportunities
        union all select 'activities', record_id, payload::text, is_deleted from raw.files__activities
    """,
    "accounts": """
        select external_id, name, domain, industry, employee_count, annual_revenue, deleted_at is null
        from canonical.accounts
    """,
    "people": """
        select p.external_id, a.external_id, p.email, p.first_name, p.last_name, p.title, p.deleted_at is null
        from canonical.people as p left join canonical.accounts as a on a.id = p.account_id
    """,
    "opportunities": """
        select o.external_id, a.external_id, o.name, o.stage, o.amount, o.close_date, o.deleted_at is null
        from canonical.opportunities as o left join canonical.accounts as a on a.id = o.account_id
    """,
    "activities": """
        select v.external_id, p.external_id, a.external_id, v.type, v.channel, v.occurred_at, v.properties::text
        from canonical.activities as v
        left join canonical.people as p on p.id = v.person_id
        left join canonical.accounts as a on a.id = v.account_id
    """,
    "signals": """
        select p.external_id, r.signal, r.day, sum(r.count)
        from rollups.rollup_person_signals_daily as r join canonical.people as p on p.id = r.person_id
        group by 1, 2, 3
    """,
    "scores": """
        select entity_type, external_id, name, account_name, fit, engagement, combined, tier, because, to_be_hot
        from marts.mart_revenue__scores
    """,
    "tiers": "select entity_type, tier, entities from marts.mart_revenue__tier_distribution where entities > 0",
    "left over": """
        select 'candidates', count(*) from scores.score_candidates
        union all select 'touched person days', count(*) from canonical.touched_person_days
        union all select 'touched days', count(*) from canonical.touched_days
        union all select 'touched entities', count(*) from canonical.touched_entities
        union all select 'moved entities', count(*) from canonical.moved_entities
        union all select 'touched attributes', count(*) from canonical.touched_attributes
        union all select 'running syncs', count(*) from control.sync_logs where status = 'running'
    """,
}


class HasId(Protocol):
    @property
    def id(self) -> str: ...


def content(tenant: HasId) -> dict[str, str]:
    """A hash per subject. Two tenants with the same sources and the same day have the same."""
    with database.run_session(tenant.id) as connection:
        return {
            subject: hashlib.sha256(repr(sorted(map(repr, connection.execute(query.encode())))).encode()).hexdigest()
            for subject, query in QUERIES.items()
        }
