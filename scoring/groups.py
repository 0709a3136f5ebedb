"""Buying groups: who plays which part in a purchase, how much of the group is known, and who could fill its gaps.

There is a group per account with somebody in it, and one per solution tag of the account's open opportunities. A role
is guessed from evidence and never certain, but for one that a person confirmed: that one stays, and counts 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
import pandas as pd

from scoring.arrays import Flags, Floats, Ints, Objects, numbers, positions, published, rank_in_group
from scoring.configs import BuyingRole, RoleTemplate
from scoring.rollup import ACTIVE_FROM
from scoring.titles import Title, read_title

ROLES: tuple[BuyingRole, ...] = get_args(BuyingRole)
UNKNOWN = "unknown"

# How far each kind of evidence is believed, the strongest first.
EVIDENCE = {"contact_role": 0.9, "title": 0.6, "delivrai": 0.5, "engagement": 0.3}
BELIEVED_ABOVE = 0.3
CANDIDATES_SHOWN = 3

_KINDS = {kind: place for place, kind in enumerate(EVIDENCE)}
_ROLE_AT: dict[str, int] = {role: place for place, role in enumerate(ROLES)}

# What CRMs call the parts that contacts play in an opportunity.
_CRM_ROLES: dict[str, BuyingRole] = {
    "economic buyer": "economic_buyer",
    "economic decision maker": "economic_buyer",
    "decision maker": "economic_buyer",
    "budget holder": "economic_buyer",
    "approver": "economic_buyer",
    "champion": "champion",
    "executive sponsor": "champion",
    "project sponsor": "champion",
    "sponsor": "champion",
    "evaluator": "technical_evaluator",
    "technical evaluator": "technical_evaluator",
    "technical buyer": "technical_evaluator",
    "technical decision maker": "technical_evaluator",
    "end user": "end_user",
    "business user": "end_user",
    "user": "end_user",
    "legal": "legal_procurement",
    "legal and compliance": "legal_procurement",
    "legal procurement": "legal_procurement",
    "procurement": "legal_procurement",
    "purchasing": "legal_procurement",
    "coach": "coach",
    "influencer": "coach",
    "advisor": "coach",
    "blocker": "blocker",
    "gatekeeper": "blocker",
    "detractor": "blocker",
}


def crm_role(text: object) -> BuyingRole | None:
    """The role that a CRM's own word means, None if it means none (Other, a blank, a word of the tenant's)."""
    return _CRM_ROLES.get(" ".join(str(text).casefold().replace("_", " ").replace("-", " ").split()))


def _empty(*columns: str) -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})


@dataclass(frozen=True)
class GroupInputs:
    """What is known about some accounts, each with all its people.

    people: person_id, account_id or null, title, and optionally email
    opportunities: opportunity_id, account_id, is_closed, solution_tag or null
    contacts: opportunity_id, person_id, role (the CRM's word for it, or null)
    discovered: account_id, email, title or null, source. Somebody whom the CRM does not know; an e-mail of a person of
        the account is that person.
    evidence: kind (delivrai, engagement), person_id or null, email or null, role, confidence (0 to 1). Where there is
        no person, it is about the one with that e-mail.
    confirmed: account_id, solution_tag or null, person_id or null, email or null, role
    engagement: person_id, engagement_score
    """

    people: pd.DataFrame
    opportunities: pd.DataFrame = field(
        default_factory=lambda: _empty("opportunity_id", "account_id", "is_closed", "solution_tag")
    )
    contacts: pd.DataFrame = field(default_factory=lambda: _empty("opportunity_id", "person_id", "role"))
    discovered: pd.DataFrame = field(default_factory=lambda: _empty("account_id", "email", "title", "source"))
    evidence: pd.DataFrame = field(default_factory=lambda: _empty("kind", "person_id", "email", "role", "confidence"))
    confirmed: pd.DataFrame = field(
        default_factory=lambda: _empty("account_id", "solution_tag", "person_id", "email", "role")
    )
    engagement: pd.DataFrame = field(default_factory=lambda: _empty("person_id", "engagement_score"))


@dataclass(frozen=True)
class Groups:
    """Three tables, in the order of their keys, whatever the order of the inputs.

    groups: account_id, solution_tag (None for the account's own), opportunity_id (where there is but one), template
        (its name, or None), members, completeness and engaged_completeness (0 to 100 to a tenth; None where no role is
        required), missing_roles
    members: account_id, solution_tag, person_id, discovered_email, discovery_source, role, role_confidence (0 to 1),
        role_source (the evidence that says most, `confirmed`, or None), is_confirmed, is_discovered
    candidates: account_id, solution_tag, role, rank (from 1), person_id, discovered_email, confidence, reason
    """

    groups: pd.DataFrame
    members: pd.DataFrame
    candidates: pd.DataFrame


def groups(inputs: GroupInputs, templates: Sequence[RoleTemplate]) -> Groups:
    """The buying groups of the accounts. A group is measured by the template of its solution tag, else the default."""
    cast = _cast(inputs)
    found = _formed(inputs, cast)
    strength = _strength(inputs, cast, found)
    # Kinds are independent witnesses of a role: what none of them doubts is believed.
    doubt = 1.0 - strength * np.array(list(EVIDENCE.values()))[None, :, None]
    # 1 - (1 - 0.3) is a hair above 0.3 in binary, and not above it.
    belief = np.round(1.0 - doubt.prod(axis=1), 9)
    confirmed = _confirmed(inputs, cast, found)

    best = belief.argmax(axis=1)
    rows = np.arange(len(best))
    confidence = belief[rows, best]
    known = confidence > BELIEVED_ABOVE
    role = np.where(known, best, len(ROLES))
    is_confirmed = confirmed >= 0
    role = np.where(is_confirmed, confirmed, role)
    confidence = np.where(is_confirmed, 1.0, confidence)

    members = _Members(cast, found, role, confidence, is_confirmed, belief, strength)
    chosen = [_template(templates, tag) for tag in found.tag]
    measured = _measured(members, chosen)
    return Groups(_group_table(found, chosen, measured), _member_table(members), _candidate_table(members, measured))


# --- who is there ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cast:
    """Everybody who can be a member: people by id, then the discovered by account and e-mail."""

    person: Objects
    email: Objects
    account: Objects
    title: list[Title]
    title_text: Objects
    source: Objects
    engagement: Floats

    def __len__(self) -> int:
        return len(self.person)

    @cached_property
    def place_of(self) -> dict[object, int]:
        return {person: place for place, person in enumerate(self.person.tolist()) if person is not None}

    @cached_property
    def places_of_mail(self) -> dict[object, list[int]]:
        found: dict[object, list[int]] = {}
        for place, mail in enumerate(self.email.tolist()):
            if mail is not None:
                found.setdefault(mail, []).append(place)
        return found

    def find(self, person: object, mail: object) -> list[int]:
        """Where a person stands or, if none is named, everybody with that e-mail."""
        if person is not None:
            return [self.place_of[person]] if person in self.place_of else []
        return self.places_of_mail.get(_mail(mail), [])


def _cast(inputs: GroupInputs) -> _Cast:
    people = inputs.people.sort_values("person_id", ignore_index=True)
    mails = [_mail(mail) for mail in people["email"].tolist()] if "email" in people else [None] * len(people)
    known = set(zip(people["account_id"].tolist(), mails, strict=True))
    discovered = inputs.discovered.assign(email=inputs.discovered["email"].map(_mail))
    # Of several reports the fullest speaks: one with a title before one without.
    discovered = discovered.assign(untitled=discovered["title"].isna()).sort_values(
        ["account_id", "email", "untitled", "title", "source"], ignore_index=True
    )
    discovered = discovered.drop_duplicates(["account_id", "email"])
    strangers = np.array(
        [
            isinstance(mail, str) and (account, mail) not in known
            for account, mail in zip(discovered["account_id"], discovered["email"], strict=True)
        ],
        dtype=bool,
    )
    discovered = discovered[strangers]
    index = pd.Index(inputs.engagement["person_id"])
    scores = np.append(numbers(inputs.engagement["engagement_score"]), 0.0)[positions(index, people["person_id"])]
    nobody = np.full(len(discovered), None, dtype=object)
    titles = np.concatenate([_nullable(people["title"]), _nullable(discovered["title"])])
    return _Cast(
        person=np.concatenate([_nullable(people["person_id"]), nobody]),
        email=np.concatenate([np.array(mails, dtype=object), _nullable(discovered["email"])]),
        account=np.concatenate([_nullable(people["account_id"]), _nullable(discovered["account_id"])]),
        title=[read_title(str(title or "")) for title in titles],
        title_text=titles,
        source=np.concatenate([np.full(len(people), None, dtype=object), _nullable(discovered["source"])]),
        engagement=published(np.concatenate([np.nan_to_num(scores), np.zeros(len(discovered))])),
    )


def _mail(value: object) -> str | None:
    return value.strip().lower() or None if isinstance(value, str) else None


def _nullable(column: pd.Series) -> Objects:
    values: Objects = column.to_numpy(dtype=object).copy()
    values[pd.isna(values)] = None
    return values


@dataclass(frozen=True)
class _Formed:
    """The groups, each an account with a tag or None, and who belongs to them: pairs ordered by group and member."""

    account: list[str]
    tag: list[str | None]
    opportunity: list[str | None]
    group: Ints
    member: Ints

    def row(self, group: int, place: int) -> int | None:
        """The membership of somebody in a group."""
        begin, end = np.searchsorted(self.group, [group, group + 1])
        row = int(begin + np.searchsorted(self.member[begin:end], place))
        return row if row < end and self.member[row] == place else None


def _formed(inputs: GroupInputs, cast: _Cast) -> _Formed:
    team: dict[str, list[int]] = {}
    for place, account in enumerate(cast.account):
        if account is not None:
            team.setdefault(account, []).append(place)
    keys: dict[tuple[str, str], set[str]] = {}
    for opportunity, account, is_closed, tag in _rows(
        inputs.opportunities, "opportunity_id", "account_id", "is_closed", "solution_tag"
    ):
        if account is not None and not is_closed and _tag(tag):
            keys.setdefault((account, _tag(tag) or ""), set()).add(opportunity)
    contacts: dict[str, set[int]] = {}
    for opportunity, person in _rows(inputs.contacts, "opportunity_id", "person_id"):
        if person in cast.place_of:
            contacts.setdefault(opportunity, set()).add(cast.place_of[person])
    who_confirmed: dict[tuple[str, str], set[int]] = {}
    for account, tag, place, _ in _confirmations(inputs, cast):
        who_confirmed.setdefault((account, tag), set()).add(place)

    formed = _Formed([], [], [], np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    sizes, members = [], []
    for account, tag in sorted({(account, "") for account in team} | keys.keys()):
        own = keys.get((account, tag), set())
        named = set().union(*(contacts.get(one, set()) for one in own)) if tag else set()
        who = sorted((named or set(team.get(account, []))) | who_confirmed.get((account, tag), set()))
        if not who:
            continue
        formed.account.append(account)
        formed.tag.append(tag or None)
        formed.opportunity.append(next(iter(own)) if tag and len(own) == 1 else None)
        sizes.append(len(who))
        members += who
    group = np.repeat(np.arange(len(sizes)), sizes)
    return _Formed(formed.account, formed.tag, formed.opportunity, group, np.array(members, dtype=np.int64))


def _tag(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(_nullable(frame[column]).tolist() for column in columns), strict=True))


# --- what speaks for what --------------------------------------------------------------------------------------------


def _strength(inputs: GroupInputs, cast: _Cast, formed: _Formed) -> Floats:
    """Per membership, kind and role the strongest confidence."""
    of_cast = np.zeros((len(cast), len(EVIDENCE), len(ROLES)))
    for place, title in enumerate(cast.title):
        for role, confidence in title.roles:
            of_cast[place, _KINDS["title"], _ROLE_AT[role]] = confidence
    who, told = _witnesses(inputs.evidence, cast)
    kind = np.array([_KINDS.get(one, -1) for one in inputs.evidence["kind"].tolist()], dtype=np.int64)[told]
    about = np.array([_ROLE_AT.get(one, -1) for one in inputs.evidence["role"].tolist()], dtype=np.int64)[told]
    amount = np.clip(np.nan_to_num(numbers(inputs.evidence["confidence"])), 0.0, 1.0)[told]
    known = (kind >= 0) & (about >= 0)
    np.maximum.at(of_cast, (who[known], kind[known], about[known]), amount[known])
    strength: Floats = of_cast[formed.member]

    # A contact role speaks in the group of its opportunity's tag, while it is open, and in that of the account.
    group_of = {key: group for group, key in enumerate(zip(formed.account, formed.tag, strict=True))}
    where_of: dict[object, list[int]] = {}
    for opportunity, account, is_closed, tag in _rows(
        inputs.opportunities, "opportunity_id", "account_id", "is_closed", "solution_tag"
    ):
        tags = {None, None if is_closed else _tag(tag)}
        where_of[opportunity] = [group_of[account, one] for one in tags if (account, one) in group_of]
    for opportunity, person, word in _rows(inputs.contacts, "opportunity_id", "person_id", "role"):
        crm = crm_role(word)
        for place in cast.find(person, None) if crm else []:
            for group in where_of.get(opportunity, []):
                row = formed.row(group, place)
                if row is not None and crm is not None:
                    strength[row, _KINDS["contact_role"], _ROLE_AT[crm]] = 1.0
    return strength


def _witnesses(evidence: pd.DataFrame, cast: _Cast) -> tuple[Ints, Ints]:
    """Whom each row of evidence is about, and which row it is: with an e-mail alone it may be about several."""
    people = _nullable(evidence["person_id"]).tolist()
    place = np.array([cast.place_of.get(person, -1) for person in people], dtype=np.int64)
    row = np.flatnonzero(place >= 0)
    by_mail = [
        (where, row)
        for row, (person, mail) in enumerate(zip(people, evidence["email"].tolist(), strict=True))
        if person is None
        for where in cast.find(None, mail)
    ]
    if not by_mail:
        return place[row], row
    others = np.array(by_mail, dtype=np.int64).T
    return np.concatenate([place[row], others[0]]), np.concatenate([row, others[1]])


def _confirmations(inputs: GroupInputs, cast: _Cast) -> list[tuple[str, str, int, int]]:
    """Account, tag, member and role, each role once: a member with two confirmed roles has the first of ROLES."""
    found: dict[tuple[str, str, int], int] = {}
    for account, tag, person, mail, role in _rows(
        inputs.confirmed, "account_id", "solution_tag", "person_id", "email", "role"
    ):
        if role not in _ROLE_AT or account is None:
            continue
        for place in cast.find(person, mail):
            if person is not None or cast.account[place] == account:
                key = (str(account), _tag(tag) or "", place)
                found[key] = min(found.get(key, len(ROLES)), _ROLE_AT[str(role)])
    return [(*key, role) for key, role in sorted(found.items())]


def _confirmed(inputs: GroupInputs, cast: _Cast, formed: _Formed) -> Ints:
    """The confirmed role of each membership, -1 where there is none."""
    found = np.full(len(formed.member), -1, dtype=np.int64)
    group_of = {key: group for group, key in enumerate(zip(formed.account, formed.tag, strict=True))}
    for account, tag, place, role in _confirmations(inputs, cast):
        group = group_of.get((account, tag or None))
        row = None if group is None else formed.row(group, place)
        if row is not None:
            found[row] = role
    return found


# --- how much is known, and who is missing ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Members:
    """Per membership: role (a place in ROLES, or after them for unknown) and all that led to it."""

    cast: _Cast
    formed: _Formed
    role: Ints
    confidence: Floats
    is_confirmed: Flags
    belief: Floats
    strength: Floats


@dataclass(frozen=True)
class _Measured:
    """Per group; NaN where no role is required. `missing` has a column per role of ROLES."""

    completeness: Floats
    engaged: Floats
    missing: Flags


def _template(templates: Sequence[RoleTemplate], tag: str | None) -> RoleTemplate | None:
    if tag is not None:
        for template in templates:
            if template.solution_tag is not None and template.solution_tag.strip().casefold() == tag.casefold():
                return template
    return next((template for template in templates if template.is_default), None)


def _measured(members: _Members, chosen: list[RoleTemplate | None]) -> _Measured:
    groups = len(chosen)
    weight = np.zeros((groups, len(ROLES)))
    for group, template in enumerate(chosen):
        for one in template.roles if template else ():
            if one.required:
                weight[group, _ROLE_AT[one.role]] = one.weight
    active = members.cast.engagement[members.formed.member] >= ACTIVE_FROM
    holders = members.role[:, None] == np.arange(len(ROLES))
    confidence = np.where(holders, members.confidence[:, None], 0.0)
    begin = np.searchsorted(members.formed.group, np.arange(groups))

    def covered(confidence: Floats) -> Floats:
        best = np.maximum.reduceat(confidence, begin, axis=0) if groups else confidence
        whole = weight.sum(axis=1)
        share = np.divide((weight * best).sum(axis=1), whole, out=np.full(groups, np.nan), where=whole > 0)
        found: Floats = 100.0 * share
        return found

    held = np.maximum.reduceat(holders, begin, axis=0) if groups else holders
    engaged = covered(np.where(active[:, None], confidence, 0.0))
    return _Measured(covered(confidence), engaged, (weight > 0) & ~held)


def _reason(members: _Members, row: int, role: int) -> str:
    cast, place = members.cast, int(members.formed.member[row])
    name = ROLES[role].replace("_", " ")
    told = {
        "contact_role": f"the CRM names them as {name}",
        "title": f"their title, {cast.title_text[place]}, fits a {name}",
        "delivrai": f"Delivrai sees a {name}",
        "engagement": f"they engage like a {name} (engagement {cast.engagement[place]})",
    }
    said = members.strength[row, :, role].tolist()
    reasons = [told[kind] for kind, amount in zip(EVIDENCE, said, strict=True) if amount > 0]
    if not reasons:
        return f"their role is unknown and they are active (engagement {cast.engagement[place]})"
    other = int(members.role[row])
    if other == role:
        reasons.append("and they are no part of this purchase yet")
    elif other < len(ROLES):
        reasons.append(f"though they look more like a {ROLES[other].replace('_', ' ')}")
    return ", ".join(reasons)


def _pool(members: _Members, measured: _Measured) -> tuple[Ints, Ints]:
    """Who could fill the gaps of a group: its members and, for a solution, the rest of the account. Pairs of (group,
    membership)."""
    formed = members.formed
    own = {account: group for group, account in enumerate(formed.account) if formed.tag[group] is None}
    gaps = np.flatnonzero(measured.missing.any(axis=1))
    wider = np.array([group for group in gaps if formed.tag[group] and formed.account[group] in own], dtype=np.int64)
    whole = np.array([own[formed.account[group]] for group in wider], dtype=np.int64)
    begin = np.searchsorted(formed.group, whole, "left")
    size = np.searchsorted(formed.group, whole, "right") - begin
    group = np.repeat(wider, size)
    row = np.repeat(begin - np.cumsum(size) + size, size) + np.arange(len(group))
    people = len(members.cast)
    others = ~np.isin(group * people + formed.member[row], formed.group * people + formed.member)
    inside = np.flatnonzero(np.isin(formed.group, gaps))
    return np.concatenate([formed.group[inside], group[others]]), np.concatenate([inside, row[others]])


def _candidate_table(members: _Members, measured: _Measured) -> pd.DataFrame:
    formed, cast = members.formed, members.cast
    group, row = _pool(members, measured)
    place = formed.member[row]
    idle = (members.role[row] == len(ROLES)) & (cast.engagement[place] >= ACTIVE_FROM)
    found = []
    for role in range(len(ROLES)):
        belief = members.belief[row, role]
        could = measured.missing[group, role] & ~members.is_confirmed[row] & ((belief > 0) | idle)
        which = np.flatnonzero(could)
        which = which[np.lexsort((place[which], -cast.engagement[place[which]], -belief[which], group[which]))]
        rank = rank_in_group(group[which])
        which, rank = which[rank < CANDIDATES_SHOWN], rank[rank < CANDIDATES_SHOWN]
        found.append(np.stack([group[which], np.full(len(which), role), rank, row[which]]))
    in_order = np.concatenate(found, axis=1)
    in_order = in_order[:, np.lexsort(in_order[2::-1])]
    rows = in_order.T.tolist()
    people = [int(formed.member[row]) for *_, row in rows]
    columns: dict[str, list[Any]] = {
        "account_id": [formed.account[group] for group, *_ in rows],
        "solution_tag": [formed.tag[group] for group, *_ in rows],
        "role": [ROLES[role] for _, role, *_ in rows],
        "rank": [rank + 1 for _, _, rank, _ in rows],
        "person_id": [cast.person[place] for place in people],
        "discovered_email": [None if cast.person[place] else cast.email[place] for place in people],
        "confidence": [round(float(members.belief[row, role]), 4) for _, role, _, row in rows],
        "reason": [_reason(members, row, role) for _, role, _, row in rows],
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _group_table(formed: _Formed, chosen: list[RoleTemplate | None], measured: _Measured) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {
        "account_id": list(formed.account),
        "solution_tag": list(formed.tag),
        "opportunity_id": list(formed.opportunity),
        "template": [template.name if template else None for template in chosen],
        "members": np.bincount(formed.group, minlength=len(formed.account)).tolist(),
        "completeness": _or_none(published(measured.completeness)),
        "engaged_completeness": _or_none(published(measured.engaged)),
        "missing_roles": [
            [role for role, is_missing in zip(ROLES, row, strict=True) if is_missing]
            for row in measured.missing.tolist()
        ],
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _or_none(values: Floats) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _only(condition: Flags, values: Objects) -> Objects:
    kept = values.copy()
    kept[~condition] = None
    return kept


def _member_table(members: _Members) -> pd.DataFrame:
    formed, cast = members.formed, members.cast
    place, rows = formed.member, np.arange(len(formed.member))
    known = members.role < len(ROLES)
    weight = members.strength[rows, :, np.where(known, members.role, 0)] * np.array(list(EVIDENCE.values()))
    source: Objects = np.array([*EVIDENCE], dtype=object)[weight.argmax(axis=1)]
    source[~known] = None
    source[members.is_confirmed] = "confirmed"
    is_discovered = np.array([person is None for person in cast.person], dtype=bool)[place]
    columns: dict[str, Objects] = {
        "account_id": np.array(formed.account, dtype=object)[formed.group],
        "solution_tag": np.array(formed.tag, dtype=object)[formed.group],
        "person_id": cast.person[place],
        "discovered_email": _only(is_discovered, cast.email[place]),
        "discovery_source": cast.source[place],
        "role": np.array([*ROLES, UNKNOWN], dtype=object)[members.role],
        "role_confidence": np.round(members.confidence, 4).astype(object),
        "role_source": source,
        "is_confirmed": members.is_confirmed.astype(object),
        "is_discovered": is_discovered.astype(object),
    }
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
