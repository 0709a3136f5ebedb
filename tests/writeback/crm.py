"""A tenant whose CRM is a Salesforce of the sandbox, as the last sync left it: scored, and ready to be written to."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from control import settings, writeback_configs
from sandbox.salesforce import Served
from sandbox.salesforce.log import Write
from steps import pipeline, provision, writeback, writeback_targets
from tests.conftest import Tenant
from warehouse import database, lease

ACTOR = "system:tests"
SCORE, TIER, SCORED_AT, BECAUSE = "GTM_Score__c", "GTM_Tier__c", "GTM_Scored_At__c", "GTM_Because__c"
FIELD_MAP = [
    {"canonicalField": "combinedScore", "targetField": SCORE},
    {"canonicalField": "tier", "targetField": TIER},
    {"canonicalField": "scoredAt", "targetField": SCORED_AT},
    {"canonicalField": "because", "targetField": BECAUSE},
]
OBJECTS = {"accounts": ("Account",), "people": ("Contact", "Lead"), "opportunities": ("Opportunity",)}
ENTITY_TYPES = {"Account": "account", "Contact": "person", "Lead": "person", "Opportunity": "opportunity"}
WRITING = ("PATCH", "PUT", "POST")


@dataclass
class Crm:
    tenant: Tenant
    served: Served
    admin: psycopg.Connection
    told: list[str] = field(default_factory=list)

    @property
    def org(self) -> Any:
        return self.served.org

    # ── what was there before ──

    def connect(self, **config: Any) -> None:
        provision.add_connector(
            self.tenant.id,
            "salesforce",
            {
                "login_url": self.served.url,
                "client_id": self.org.identity.client_id,
                "client_secret": self.org.identity.client_secret,
                "backoff_seconds": 0.01,
                "timeout_seconds": 5,
                **config,
            },
            actor=ACTOR,
        )

    def add_fields(self, *objects: str) -> None:
        """Those of ours that an org does not have by itself."""
        for entity in objects:
            if entity == "Opportunity":
                self.org.add_field(entity, SCORE, "double")
                self.org.add_field(entity, SCORED_AT, "datetime")
            self.org.add_field(entity, TIER, "picklist", picklist=("Hot", "Warm", "Cool", "Cold"))
            self.org.add_field(entity, BECAUSE, length=80)

    def switch_on(self, entity: str = "accounts", field_map: Any = FIELD_MAP, **policies: str) -> None:
        content = {"field_map": field_map, "policies": policies}
        writeback_configs.put(self.tenant.id, "salesforce", entity, content, actor=ACTOR)
        writeback_targets.enable(self.tenant.id, "salesforce", entity, actor=ACTOR)
        settings.change(self.tenant.id, actor=ACTOR, assignments=["features.writeback=true"])

    def accounts(self, count: int) -> list[str]:
        """So many accounts more, known to the last sync and scored: the n-th at n, and hot from 50 on."""
        ids = [self.org.create("Account", Name=f"Company {number}") for number in range(count)]
        self.sync()
        self.score({record_id: float(number % 100) for number, record_id in enumerate(ids)})
        return ids

    def sync(self, *objects: str) -> None:
        """Canonical shows what the org shows, as after a sync and a transform."""
        for entity in objects or ("Account",):
            table = {"account": "accounts", "person": "people", "opportunity": "opportunities"}[ENTITY_TYPES[entity]]
            columns, values = {
                "accounts": ("name", "r.payload ->> 'Name'"),
                "people": ("is_lead", "r.object = 'Lead'"),
                "opportunities": (
                    "name, account_id",
                    "r.payload ->> 'Name', md5(%(tenant)s || (r.payload ->> 'AccountId'))",
                ),
            }[table]
            self.admin.execute(
                f"""
                insert into canonical.{table} as known (
                    id, tenant_id, source, external_id, source_data, deleted_at, {columns}
                )
                select md5(%(tenant)s || (r.payload ->> 'Id')), %(tenant)s, 'salesforce', r.payload ->> 'Id', r.payload,
                    case when r.payload ->> 'IsDeleted' = 'true' then now() end, {values}
                from (select jsonb_array_elements(%(records)s::jsonb) as payload, %(object)s as object) as r
                on conflict (id) do update set source_data = excluded.source_data, deleted_at = excluded.deleted_at
                where (known.source_data, known.deleted_at is null)
                    is distinct from (excluded.source_data, excluded.deleted_at is null)
                """.encode(),
                {
                    "tenant": self.tenant.id,
                    "records": Jsonb(list(self.org.truth(entity).values())),
                    "object": entity,
                },
            )

    def score(self, scores: dict[str, float], *, tier: str = "", because: str = "of a demo request") -> None:
        """What a publication leaves: of each record its combined score, and the tier that follows from it."""
        self.admin.execute(
            """
            insert into scores.engagements (
                id, tenant_id, entity_type, entity_id, fit_score, engagement_score, combined_score, tier, scored_at,
                score_breakdown
            )
            select md5(%(tenant)s || 'score' || r.id), %(tenant)s, r.kind, md5(%(tenant)s || r.id), r.score, r.score,
                r.score, coalesce(nullif(%(tier)s, ''), case when r.score >= 50 then 'hot' else 'cold' end),
                '2026-03-10 02:00:00.25+00', jsonb_build_object('because', %(because)s::text)
            from unnest(%(ids)s::text[], %(kinds)s::text[], %(scores)s::numeric[]) as r (id, kind, score)
            on conflict (tenant_id, entity_type, entity_id) do update set combined_score = excluded.combined_score,
                fit_score = excluded.fit_score, engagement_score = excluded.engagement_score, tier = excluded.tier,
                scored_at = excluded.scored_at + interval '1 day', score_breakdown = excluded.score_breakdown
            """,
            {
                "tenant": self.tenant.id,
                "ids": list(scores),
                "kinds": [ENTITY_TYPES[self.org.entity_of(record_id)] for record_id in scores],
                "scores": list(scores.values()),
                "tier": tier,
                "because": because,
            },
        )

    # ── what happens ──

    def run(self, run_id: str = "") -> dict[str, Any]:
        with lease.hold(self.tenant.id, "tests", stage="writeback") as held:
            return writeback.run(self.tenant.id, run_id or str(uuid.uuid4()), held.fence, report=self.told.append)

    def lost(self) -> dict[str, Any]:
        """The summary of a run that loses some."""
        try:
            self.run()
        except writeback.WritebackFailed as failed:
            return {**failed.summary, "sentence": str(failed)}
        raise AssertionError("nothing was lost")

    # ── what the org says of it ──

    @property
    def writes(self) -> list[Write]:
        return self.served.log.writes

    def writing_calls(self) -> int:
        """Calls that could have changed a record; looking at records by their ids is a POST as well."""
        return sum(
            call.method in WRITING and "/oauth2" not in call.path and not _only_looks(call)
            for call in self.served.log.calls
        )

    def shows(self, record_id: str, *fields: str) -> Any:
        values = self.org.truth(self.org.entity_of(record_id))[record_id]
        found = tuple(values[name] for name in fields or (SCORE, TIER))
        return found if len(found) > 1 else found[0]

    def forget_calls(self) -> None:
        self.served.log.clear()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with database.run_session(self.tenant.id) as connection:
            return connection.execute(query.encode()).fetchall()

    def assert_sound(self, written: Iterable[str]) -> None:
        """By the org's own log: each of these was written once, nothing else was, none made, none emptied."""
        assert sorted(write.id for write in self.writes) == sorted(written)
        assert {write.operation for write in self.writes} <= {"update"}
        assert [write for write in self.writes if None in write.after.values()] == []


def _only_looks(call: Any) -> bool:
    return call.method == "POST" and "/composite/sobjects/" in call.path


__all__ = ["ACTOR", "BECAUSE", "FIELD_MAP", "SCORE", "SCORED_AT", "TIER", "Crm", "pipeline"]
