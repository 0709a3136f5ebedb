"""The buying groups of a portion, as candidates for publication beside the scores.

Groups are formed anew for accounts of which something changed, and for those with somebody whose engagement is high
enough to be evidence of a role, now or at the last publication: it fades from day to day. All others stay as they are.
Of members only those become candidates of whom something else is said than what is in force, and those who are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import numpy as np
import orjson
import pandas as pd
import psycopg

from scoring.arrays import Flags, numbers
from scoring.engine import Scored
from scoring.groups import GroupInputs, Groups, groups
from scoring.rollup import ACTIVE_FROM
from scoring.titles import read_title
from steps import bulk
from steps.bulk import plain
from steps.score_inputs import Portion
from steps.score_rules import Rules

# the sources whose activities name people whom the CRM does not know
SEEN_BY = ("o365", "fathom", "delivrai")

_GROUPS: dict[str, LiteralString] = {
    "account_id": "text",
    "solution_tag": "text",
    "opportunity_id": "text",
    "template": "text",
    "completeness_score": "numeric",
    "engaged_completeness": "numeric",
    "missing_roles": "jsonb",
    "candidates_for_gaps": "jsonb",
}
_MEMBERS: dict[str, LiteralString] = {
    "account_id": "text",
    "solution_tag": "text",
    "person_id": "text",
    "discovered_email": "text",
    "discovery_source": "text",
    "role": "text",
    "role_confidence": "numeric",
    "role_source": "text",
    "is_confirmed": "boolean",
    "is_gone": "boolean",
}
_FOUND = """
select g.account_id, g.solution_tag, m.person_id, m.discovered_email as email, m.discovery_source as source, m.role,
    m.is_confirmed
from scores.buying_group_members as m
join scores.buying_groups as g on g.tenant_id = m.tenant_id and g.id = m.buying_group_id
where m.tenant_id = %s and (m.is_confirmed or m.person_id is null)
order by m.id
"""
# Whom the CRM does not know and mails or meetings do. They are members for as long as these stand.
_COUNTERPARTS = """
select distinct a.account_id, lower(a.properties ->> 'address') as email, a.source
from canonical.activities as a
where a.tenant_id = %s and a.person_id is null and a.person_ref is not null and a.account_id is not null
    and a.deleted_at is null and a.properties ->> 'address' is not null
"""
# What a vendor of identities says that somebody is.
_PROFILES = """
select p.email, p.title, p.seniority, p.department
from canonical.profiles as p
where p.tenant_id = %s and p.source = 'delivrai'
order by p.email
"""


# Of the account's own group the tag is '', which on its way in is null.
_TAKEN_OVER: tuple[LiteralString, ...] = (
    "insert into scores.regrouped_accounts (tenant_id, account_id) select %(tenant)s, account_id from regrouped",
    "insert into scores.group_candidates (tenant_id, account_id, solution_tag, opportunity_id, template,"
    " completeness_score, engaged_completeness, missing_roles, candidates_for_gaps)"
    " select %(tenant)s, account_id, coalesce(solution_tag, ''), opportunity_id, template, completeness_score,"
    " engaged_completeness, missing_roles, candidates_for_gaps from grouped",
    "insert into scores.group_member_candidates (tenant_id, account_id, solution_tag, person_id, discovered_email,"
    " discovery_source, role, role_confidence, role_source, is_confirmed, is_gone)"
    " select %(tenant)s, account_id, coalesce(solution_tag, ''), person_id, discovered_email, discovery_source, role,"
    " role_confidence, role_source, is_confirmed, is_gone from joined",
)


@dataclass(frozen=True)
class Formed:
    """Columns of text, as `bulk.copy_in` takes them: accounts that were looked at, their groups, and the members."""

    accounts: list[list[str]]
    groups: list[list[str]]
    members: list[list[str]]


class Grouping:
    """Writes the candidates of one run. Whom people confirmed and whom connectors discovered is read once."""

    def __init__(self, connection: psycopg.Connection, tenant_id: str, rules: Rules) -> None:
        self._connection, self._tenant_id, self._rules = connection, tenant_id, rules
        bulk.make_temporary(connection, "grouped", _GROUPS)
        bulk.make_temporary(connection, "joined", _MEMBERS)
        bulk.make_temporary(connection, "regrouped", {"account_id": "text"})
        kept = _rows(connection, _FOUND, tenant_id)
        self._confirmed = kept[kept["is_confirmed"].astype(bool)]
        strangers = kept[kept["person_id"].isna() & (kept["is_confirmed"].astype(bool) | ~kept["source"].isin(SEEN_BY))]
        found = _rows(connection, _COUNTERPARTS, tenant_id)
        self._discovered = pd.concat([strangers, found], ignore_index=True).assign(title=None)
        told = _rows(connection, _PROFILES, tenant_id)
        self._profiles = {email: _position(*words) for email, *words in told.itertuples(index=False, name=None)}

    def formed(self, portion: Portion, scored: Scored, news: frozenset[str], *, everything: bool) -> Formed | None:
        people, engaged = portion.inputs.people, scored.table[scored.table["entity_type"] == "person"]
        if everything:
            accounts = set(portion.inputs.accounts["account_id"])
        else:
            before = portion.published[portion.published["entity_type"] == "person"]["engagement_score"]
            most = np.fmax(numbers(before), numbers(engaged["engagement_score"]))
            active = most >= ACTIVE_FROM
            accounts = _to_regroup(portion, set(people["person_id"][active]), news)
        if not accounts:
            return None
        found = groups(self._inputs(portion, scored, engaged, accounts), self._rules.role_templates)
        return self._as_text(accounts, found, portion.members[_among(portion.members["account_id"], accounts)])

    def write(self, formed: Formed) -> None:
        bulk.copy_in(self._connection, "regrouped", formed.accounts)
        bulk.copy_in(self._connection, "grouped", formed.groups)
        bulk.copy_in(self._connection, "joined", formed.members)
        for statement in _TAKEN_OVER:
            self._connection.execute(statement, {"tenant": self._tenant_id})
        self._connection.execute("truncate regrouped, grouped, joined")

    def _inputs(self, portion: Portion, scored: Scored, engaged: pd.DataFrame, accounts: set[str]) -> GroupInputs:
        inputs = portion.inputs
        opportunities = inputs.opportunities[_among(inputs.opportunities["account_id"], accounts)]
        contacts = inputs.opportunity_contacts
        contacts = contacts[_among(contacts["opportunity_id"], set(opportunities["opportunity_id"]))]
        with_account = inputs.people["account_id"]
        # who has no account may still be a contact
        taking_part = _among(with_account, accounts) | (
            with_account.isna().to_numpy() & _among(inputs.people["person_id"], set(contacts["person_id"]))
        )
        people = inputs.people[taking_part]
        members = set(people["person_id"])
        evidence = scored.engagement_evidence()
        evidence = evidence[_among(evidence["person_id"], members)]
        discovered = self._discovered[_among(self._discovered["account_id"], accounts)]
        addresses = {mail.lower() for mail in (*people["email"], *discovered["email"]) if isinstance(mail, str)}
        if told := self._told_of(addresses):
            evidence = pd.concat([evidence, pd.DataFrame(told, columns=list(evidence.columns))], ignore_index=True)
        return GroupInputs(
            people=people,
            opportunities=opportunities,
            contacts=contacts,
            discovered=discovered,
            evidence=evidence,
            confirmed=self._confirmed[_among(self._confirmed["account_id"], accounts)],
            engagement=engaged[["entity_id", "engagement_score"]].rename(columns={"entity_id": "person_id"}),
        )

    def _told_of(self, addresses: set[str]) -> list[tuple[str, None, str, str, float]]:
        """What profiles say of the parts that these play, as rows of `groups.GroupInputs.evidence`."""
        known = sorted(addresses & self._profiles.keys())
        return [
            ("delivrai", None, mail, role, confidence)
            for mail in known
            for role, confidence in read_title(self._profiles[mail]).roles
        ]

    def _as_text(self, accounts: set[str], found: Groups, in_force: pd.DataFrame) -> Formed:
        gaps = _gaps(found.candidates)
        table = found.groups
        members, gone = _news_of(found.members, in_force)
        keys = list(zip(table["account_id"], _tags(table), strict=True))
        return Formed(
            accounts=[sorted(accounts)],
            groups=[
                [account for account, _ in keys],
                [tag for _, tag in keys],
                _or_null(table["opportunity_id"]),
                [self._rules.template_ids[name] if name else "" for name in table["template"]],
                _or_null(table["completeness"]),
                _or_null(table["engaged_completeness"]),
                [orjson.dumps(roles).decode() for roles in table["missing_roles"]],
                [gaps.get(key, "[]") for key in keys],
            ],
            members=[now + before for now, before in zip(_joined(members), _left(gone), strict=True)],
        )


def _rows(connection: psycopg.Connection, query: LiteralString, tenant_id: str) -> pd.DataFrame:
    cursor = connection.execute(query, [tenant_id])
    assert cursor.description is not None
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description], dtype=object)


def _position(title: str | None, seniority: str | None, department: str | None) -> str:
    """The title, or the words that come nearest to one."""
    return title or " ".join(word for word in (seniority, department) if word)


def _among(column: pd.Series, those: set[str]) -> Flags:
    return np.fromiter((one in those for one in column.tolist()), dtype=bool, count=len(column))


# Account, tag, and the person or the e-mail of somebody discovered.
_Key = tuple[Any, ...]


def _news_of(members: pd.DataFrame, in_force: pd.DataFrame) -> tuple[pd.DataFrame, list[_Key]]:
    """The members of whom something else is said than what is in force, and the keys of those who are gone."""
    said = ("role", "role_confidence", "role_source")
    before = dict(
        zip(_keys(in_force, in_force["who"]), zip(*(in_force[name] for name in said), strict=True), strict=True)
    )
    who = members["person_id"].where(members["person_id"].notna(), members["discovered_email"])
    now = zip(_keys(members, who), zip(*(members[name] for name in said), strict=True), strict=True)
    is_news = [before.pop(key, None) != told for key, told in now]
    return members[np.array(is_news, dtype=bool)], list(before)


def _keys(table: pd.DataFrame, who: pd.Series) -> Iterator[_Key]:
    return zip(table["account_id"], table["solution_tag"], who, strict=True)


def _joined(members: pd.DataFrame) -> list[list[str]]:
    """As _MEMBERS names them."""
    found = [members["account_id"].tolist(), _tags(members)]
    found += [_or_null(members[name]) for name in ("person_id", "discovered_email", "discovery_source")]
    found += [_or_null(members[name]) for name in ("role", "role_confidence", "role_source", "is_confirmed")]
    return [*found, ["false"] * len(members)]


def _left(gone: list[_Key]) -> list[list[str]]:
    """Of who is gone nothing is said but who it is."""
    accounts, tags, who = ([key[place] for key in gone] for place in range(3))
    nothing = [""] * len(gone)
    return [accounts, _or_null(tags), who, *(nothing for _ in range(6)), ["true"] * len(gone)]


def _to_regroup(portion: Portion, active: set[str], news: frozenset[str]) -> set[str]:
    """Accounts of the portion with news or with somebody active, and those that share a contact with one of them."""
    people, deals = portion.inputs.people, portion.inputs.opportunities
    account_of = dict(zip(people["person_id"], people["account_id"], strict=True))
    account_of_deal = dict(zip(deals["opportunity_id"], deals["account_id"], strict=True))
    ours = set(portion.inputs.accounts["account_id"])
    found = (ours & news) | {account for one in active if (account := account_of[one]) is not None}
    contacts = portion.inputs.opportunity_contacts
    ties = [
        (account_of_deal[deal], account_of.get(person), person)
        for deal, person in zip(contacts["opportunity_id"], contacts["person_id"], strict=True)
        if account_of_deal[deal] != account_of.get(person)
    ]
    found |= {account for account, home, person in ties if home is None and (person in active or person in news)}
    while (
        more := {
            one for account, home, _ in ties for one in (account, home) if home is not None and found & {account, home}
        }
        - found
    ):
        found |= more
    return found & ours


def _gaps(candidates: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Who could fill the gaps of each group, as JSON, the best first."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    tags = _tags(candidates)
    told = ("role", "rank", "person_id", "discovered_email", "confidence", "reason")
    for account, tag, *row in zip(candidates["account_id"], tags, *(candidates[name] for name in told), strict=True):
        found.setdefault((account, tag), []).append(dict(zip(told, row, strict=True)))
    return {key: orjson.dumps(rows).decode() for key, rows in found.items()}


def _tags(table: pd.DataFrame) -> list[str]:
    return _or_null(table["solution_tag"])


def _or_null(column: Iterable[Any]) -> list[str]:
    return ["" if value is None else plain(value) if isinstance(value, str) else str(value) for value in column]
