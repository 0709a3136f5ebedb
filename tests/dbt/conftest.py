"""A tenant's way through dbt: land records, transform, look at what is there."""

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from steps import transform
from warehouse import database, lease


class Tenant(Protocol):
    id: str
    slug: str


@dataclass
class Pipeline:
    """One tenant's raw tables and the transform over them."""

    id: str
    slug: str
    connector_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        with database.control_session(self.id) as connection:
            connection.execute(
                "insert into control.connectors (id, tenant_id, type, name) values (%s, %s, 'files', 'files')",
                [self.connector_id, self.id],
            )

    def land(
        self,
        stream: str,
        *records: dict[str, Any],
        updated_at: str | None = None,
        deleted: bool = False,
        connector: str = "files",
    ) -> None:
        """New versions of records, numbered as landing numbers them."""
        with database.run_session(self.id) as connection:
            connection.execute(
                "insert into control.stream_states (tenant_id, connector_id, connector, stream)"
                " values (%s, %s, %s, %s) on conflict do nothing",
                [self.id, self.connector_id, connector, stream],
            )
            for record in records:
                payload = json.dumps(record)
                numbered = connection.execute(
                    "update control.stream_states set last_seq = last_seq + 1 where connector = %s and stream = %s"
                    " returning last_seq",
                    [connector, stream],
                ).fetchone()
                assert numbered
                connection.execute(
                    f"insert into raw.{connector}__{stream} (tenant_id, record_id, payload, payload_hash, is_deleted,"
                    " source_updated_at, sync_id, seq) values (%s, %s, %s, %s, %s, %s, 'test', %s)".encode(),
                    [
                        *(self.id, record["id"], payload, hashlib.sha256(payload.encode()).digest()),
                        *(deleted, updated_at, numbered[0]),
                    ],
                )

    def transform(self, *select: str) -> dict[str, Any]:
        with lease.hold(self.id, "test", stage="transform") as held:
            return transform.run(self.slug, f"run-{held.fence}", held.fence, select=select or ("canonical", "rollups"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with database.run_session(self.id) as connection:
            return connection.execute(query.encode()).fetchall()

    def score(self, entity_type: str, entity_id: str, combined: float, tier: str) -> None:
        with database.run_session(self.id) as connection:
            connection.execute(
                "insert into scores.engagements"
                " (id, tenant_id, entity_type, entity_id, combined_score, tier, score_breakdown)"
                """ values (%s, %s, %s, %s, %s, %s, '{"because": "of a test", "to_be_hot": "nothing"}')""",
                [str(uuid.uuid4()), self.id, entity_type, entity_id, combined, tier],
            )


@pytest.fixture
def pipeline(tenant: Tenant) -> Pipeline:
    return Pipeline(tenant.id, tenant.slug)


@pytest.fixture
def other_pipeline(other_tenant: Tenant) -> Pipeline:
    return Pipeline(other_tenant.id, other_tenant.slug)


@pytest.fixture
def landed(pipeline: Pipeline) -> Pipeline:
    """Two accounts, three people, two opportunities and a few activities, transformed once."""
    pipeline.land(
        "accounts", {"id": "a1", "name": "Acme", "website": "https://www.acme.com"}, {"id": "a2", "name": "Bolt"}
    )
    pipeline.land(
        "people",
        {"id": "p1", "account_id": "a1", "email": "Ann@Acme.com"},
        {"id": "p2", "account_id": "a2", "email": "bob@bolt.io"},
        {"id": "p3", "email": "cy@nowhere.net"},
    )
    pipeline.land(
        "opportunities",
        {"id": "o1", "account_id": "a1", "name": "Renewal", "contact_ids": "p1;p2", "stage_changed_at": "2026-03-01"},
        {"id": "o2", "name": "Homeless"},
    )
    pipeline.land(
        "activities",
        {"id": "e1", "person_id": "p1", "type": "Demo Request", "occurred_at": "2026-03-01T23:30:00"},
        {"id": "e2", "person_id": "p1", "type": "page_view", "occurred_at": "2026-03-01T10:00:00Z"},
        {"id": "e3", "person_id": "p1", "type": "page_view", "occurred_at": "2026-03-01T11:00:00Z"},
        {"id": "e4", "person_id": "p2", "type": "email_open", "occurred_at": "2026-03-02T11:00:00Z"},
    )
    pipeline.transform()
    return pipeline
