"""Why a score is what it is, as it was published."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from control import access, entities, registry
from scoring import story
from warehouse import database
from warehouse.errors import ClarityError


@dataclass(frozen=True)
class Explained:
    """`lines` are for people; `facts` are the row itself, for programs."""

    lines: list[str]
    facts: dict[str, Any]


def run(slug: str, kind: str, named: str, *, actor: str) -> Explained:
    """The published score of what is `named`, and its reasons. MisuseError if there is no such thing."""
    tenant_id = registry.tenant(slug).id
    access.require(tenant_id, actor, "score.show")
    with database.control_session(tenant_id) as connection:
        found = entities.find(connection, tenant_id, kind, named)
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                "select as_of::text, fit_score::float8, engagement_score::float8, combined_score::float8, tier,"
                " score_version, scored_at::text, score_breakdown from scores.engagements"
                " where tenant_id = %s and entity_type = %s and entity_id = %s",
                [tenant_id, kind, found.id],
            ).fetchone()
        if row is None:
            raise ClarityError(f"{found.name} has no score yet: `clarity run {slug}` makes one")
        parts = row["score_breakdown"]["engagement"]["parts"]
        who = [part["person_id"] for part in parts if "person_id" in part]
        people = entities.names_of_people(connection, tenant_id, who)
    told = story.told(row, found.name, people)
    return Explained(
        [*told, "", f"As of {row['as_of']}, by version {row['score_version']} of the scoring configuration."],
        {"entity_type": kind, "entity_id": found.id, "name": found.name, **row},
    )
