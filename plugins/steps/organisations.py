"""Clerk's organisations become tenants, and their members ours.

Clerk is asked; its webhooks only say about whom. So an event that comes twice, late or never does no harm. What was
done stays done: killed at any moment and run again, the rest follows.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from connectors.clerk import client as vendor
from connectors.clerk.client import Member, Organisation
from connectors.contract import ConnectorError
from control import access, clerk, tenants
from control.clerk import Known
from steps import provision
from warehouse.errors import ClarityError
from warehouse.home import home, locked

Report = Callable[[str], None]

ROLES = {"org:admin": "admin", "org:manager": "manager", "org:viewer": "viewer"}
LEAST = "viewer"
LONGEST_SLUG = 40
# A reading that knows fewer of our organisations than this is taken for one of another instance, or a broken one.
PLAUSIBLE_SHARE = 0.5


@dataclass
class Summary:
    """What became of whom, by slug."""

    organisations: int = 0
    created: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    members: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"provisioned": "on", **asdict(self), "members": dict(self.members)}


def run(
    *,
    everything: bool = True,
    accept_fewer: bool = False,
    actor: str = clerk.ACTOR,
    report: Report = lambda _line: None,
) -> dict[str, Any]:
    """Bring tenants and members in line with Clerk: all of them, or those alone that an event tells of.

    A removed organisation is paused, never deleted. `accept_fewer` takes a reading for true that knows under half of
    our organisations. What fails for one does not hold up the others; at the end ClarityError names them.
    """
    access.require_system(actor, "provision")
    if (secret_key := clerk.secret(clerk.SECRET_KEY)) is None:
        return {
            "provisioned": "off",
            "because": f"Clerk's secret key is not given: {clerk.SECRET_KEY}, or the file"
            f" {clerk.SECRET_KEY.lower()} in CLARITY_HOME",
        }
    with locked(home() / "provision.lock", report):
        told = clerk.unsettled()
        try:
            read = asyncio.run(_read(secret_key, None if everything else list(told)))
        except ConnectorError as error:
            raise ClarityError(str(error)) from None
        if everything:
            _refuse_a_shrunken_reading(read, accept_fewer)
        provisioning = _Provisioning(read, actor, report)
        provisioning.run()
        clerk.settle([event for organisation, events in told.items() if organisation in read for event in events])
    if provisioning.failures:
        raise ClarityError(f"not everybody could be provisioned. {'; '.join(provisioning.failures)}")
    return provisioning.summary.as_dict()


@dataclass(frozen=True)
class Found:
    organisation: Organisation
    members: list[Member]


# an organisation's id, and what there is of it; None if it is gone
Reading = Mapping[str, Found | None]


async def _read(secret_key: str, wanted: list[str] | None) -> Reading:
    """These organisations, or all of which Clerk or we know."""
    address = clerk.secret(clerk.ADDRESS) or vendor.API
    async with vendor.connect(secret_key, address) as api:

        async def one(organisation: Organisation | None) -> Found | None:
            return Found(organisation, await api.members(organisation.id)) if organisation else None

        listed = [] if wanted is not None else await api.organisations()
        present = {organisation.id for organisation in listed}
        # whoever is missing in a list is asked for by name before they are taken for removed
        named = wanted if wanted is not None else [id_ for id_ in _known_organisations() if id_ not in present]
        asked = await asyncio.gather(*(api.organisation(id_) for id_ in named))
        found = await asyncio.gather(*(one(organisation) for organisation in (*listed, *asked)))
    return dict(zip([*(organisation.id for organisation in listed), *named], found, strict=True))


def _known_organisations() -> list[str]:
    return [tenant.organisation for tenant in clerk.tenants() if not tenant.is_hand_made and not tenant.paused]


def _refuse_a_shrunken_reading(read: Reading, accept_fewer: bool) -> None:
    known = _known_organisations()
    here = sum(read.get(organisation) is not None for organisation in known)
    if not accept_fewer and known and here < PLAUSIBLE_SHARE * len(known):
        raise ClarityError(
            f"Clerk knows {here or 'none'} of the {len(known)} organisations that are tenants here: nobody is paused"
            f" for that. Look whether {clerk.SECRET_KEY} is that of the right instance; if they are really gone, say"
            " `clarity provision --accept-fewer`"
        )


@dataclass
class _Provisioning:
    read: Reading
    actor: str
    report: Report
    summary: Summary = field(default_factory=Summary)
    failures: list[str] = field(default_factory=list)
    tenants: list[Known] = field(default_factory=clerk.tenants)
    strange_roles: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        for organisation_id, found in self.read.items():
            try:
                self._bring_in_line(organisation_id, found)
            except ClarityError as error:
                self.failures.append(f"{found.organisation.name if found else organisation_id}: {error}")
        for role, count in sorted(self.strange_roles.items()):
            self._note(f"the role {role} is none of {', '.join(ROLES)}: {count} members with it are {LEAST}s")

    def _bring_in_line(self, organisation_id: str, found: Found | None) -> None:
        tenant = next((known for known in self.tenants if known.organisation == organisation_id), None)
        if found is None:
            if tenant is not None and tenants.set_paused(tenant.tenant_id, True, actor=self.actor):
                self.summary.paused.append(tenant.slug)
                self.report(f"{tenant.slug} is paused: its organisation is gone from Clerk")
            return
        self.summary.organisations += 1
        tenant = tenant or self._made(found.organisation)
        if tenant is None:
            return
        self._name(tenant, found.organisation)
        self._follow(tenant, found.members)
        if tenant.paused:
            self._note(f"{tenant.slug} is paused, its organisation is there: `clarity tenant resume {tenant.slug}`")

    def _made(self, organisation: Organisation) -> Known | None:
        by_slug = {known.slug: known for known in self.tenants}
        if organisation.named:
            return self._adopted(organisation, by_slug.get(organisation.named))
        slug = _slug_of(organisation)
        if slug in by_slug and by_slug[slug].is_hand_made:
            # whoever founds an organisation chooses its slug: that must not make them admins of somebody's tenant
            self._note(
                f"the organisation {organisation.name} ({organisation.id}) is called {slug} as a tenant made by hand"
                " is, and was left out. If they are the same, put"
                f' {{"{vendor.SLUG_IN_PRIVATE_METADATA}": "{slug}"}} into its private metadata at Clerk; if not, give'
                " it another slug there"
            )
            return None
        slug = _free(slug, by_slug)
        tenant_id = provision.create_tenant(
            _readable(organisation.name) or slug, slug, actor=self.actor, clerk_org_id=organisation.id
        )
        made = Known(tenant_id, slug, _readable(organisation.name) or slug, organisation.id, paused=False)
        self.tenants.append(made)
        self.summary.created.append(slug)
        self.report(f"{organisation.name} is tenant {slug}")
        return made

    def _adopted(self, organisation: Organisation, tenant: Known | None) -> Known | None:
        if tenant is None or not tenant.is_hand_made:
            what = "belongs to another organisation" if tenant else "is no tenant"
            self._note(
                f"the organisation {organisation.name} ({organisation.id}) names {organisation.named[:LONGEST_SLUG]!r}"
                f" in its private metadata, which {what}: it was left out"
            )
            return None
        clerk.adopt(tenant, organisation.id, actor=self.actor)
        self.summary.adopted.append(tenant.slug)
        self.report(f"{tenant.slug} is the organisation {organisation.name} from now on")
        return tenant

    def _name(self, tenant: Known, organisation: Organisation) -> None:
        name = _readable(organisation.name)
        if name and name != tenant.name:
            clerk.rename(tenant, name, actor=self.actor)
            self.summary.renamed.append(tenant.slug)

    def _follow(self, tenant: Known, people: Iterable[Member]) -> None:
        wanted: dict[str, str] = {}
        for member in people:
            if member.role not in ROLES:
                self.strange_roles[member.role] += 1
            wanted[member.user_id] = ROLES.get(member.role, LEAST)
        done = clerk.follow_members(tenant.tenant_id, wanted, actor=self.actor)
        self.summary.members.update(added=len(done.added), changed=len(done.changed), removed=len(done.removed))
        if done.kept:
            self._note(f"{tenant.slug}: Clerk names no admin, so {', '.join(done.kept)} stay as they are")

    def _note(self, line: str) -> None:
        self.summary.notes.append(line)
        self.report(line)


def _slug_of(organisation: Organisation) -> str:
    """What an organisation is called, as a slug: it becomes part of DAG ids and never changes afterwards."""
    text = organisation.slug or organisation.name or organisation.id
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:LONGEST_SLUG].rstrip("_")
    if not slug:
        return _slug_of(Organisation(organisation.id, organisation.id))
    return slug if slug[0].isalpha() and len(slug) > 1 else f"t_{slug}"[:LONGEST_SLUG]


def _free(slug: str, taken: Iterable[str]) -> str:
    """The slug, with a number behind it if another tenant has it."""
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug[: LONGEST_SLUG - len(str(number)) - 1]}_{number}"
    return free


def _readable(name: str) -> str:
    return "".join(filter(str.isprintable, name)).strip()[: tenants.MAXIMUM_NAME]
