"""Whom a tenant knows by address: about them a vendor is asked who is paid by the person, and not again for a while.

Of whom it was asked is kept by digest, in the transaction that lands its answer: an answer that is there was asked for
once, and one that is not is asked for again.
"""

from collections.abc import Sequence
from typing import LiteralString

from warehouse import database

# People, and whoever did something at an account without being a person there. The policies let an index serve no
# comparison with what is worked out on the way, so both sides are read whole and compared by their digests.
_DUE: LiteralString = """
with known as (
    select lower(p.email) as email from canonical.people as p
    where p.tenant_id = %(tenant)s and p.deleted_at is null and p.email is not null
    union
    select lower(btrim(a.properties ->> 'address')) from canonical.activities as a
    where a.tenant_id = %(tenant)s and a.person_id is null and a.person_ref is not null and a.account_id is not null
        and a.deleted_at is null and a.properties ->> 'address' is not null
),

digested as (
    select known.email, encode(sha256(convert_to(known.email, 'UTF8')), 'hex') as digest from known
),

asked as materialized (
    select l.digest from control.lookups as l
    where l.tenant_id = %(tenant)s and l.connector_id = %(connector)s and l.good_until > now()
),

due as (
    select digested.email, digested.digest from digested
    where not exists (select from asked where asked.digest = digested.digest)
)

"""
_FIRST: LiteralString = "select email from due order by digest limit %(most)s"
_COUNTED: LiteralString = "select count(*) from due"


class Acquaintances:
    def __init__(self, tenant_id: str, connector_id: str) -> None:
        self._of = {"tenant": tenant_id, "connector": connector_id}

    def due(self, most: int) -> Sequence[str]:
        with database.run_session(self._of["tenant"], application="acquaintances") as connection:
            rows = connection.execute(_DUE + _FIRST, {**self._of, "most": most}).fetchall()
        return [str(email) for (email,) in rows]

    def how_many_are_due(self) -> int:
        with database.run_session(self._of["tenant"], application="acquaintances") as connection:
            row = connection.execute(_DUE + _COUNTED, self._of).fetchone()
        return int(row[0]) if row else 0
