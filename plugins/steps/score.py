"""Scores a tenant as of a day: what dbt rolled up goes in, candidates for publication come out."""

from datetime import date
from typing import Any, LiteralString

import pandas as pd
import psycopg
from psycopg import sql

from control import settings
from scoring.configs import ConfigError, Configs, read_configs
from scoring.engine import Inputs, score_all
from warehouse import database
from warehouse.errors import ClarityError

CANDIDATE_COLUMNS = (
    "entity_type", "entity_id", "fit_score", "engagement_score", "combined_score", "tier", "fit_high",
    "engagement_high", "score_breakdown",
)  # fmt: skip


def run(tenant_id: str, run_id: str, fence: int, as_of: date) -> dict[str, Any]:
    """Replace the tenant's candidates by its scores as of the day. The published scores are not touched."""
    with database.run_session(tenant_id, application="score") as connection:
        in_force = settings.scoring_configs(connection, tenant_id)
        try:
            configs = read_configs(in_force.configs)
        except ConfigError as error:
            raise ClarityError(f"the scoring configuration is not valid, nothing was scored: {error}") from None
        scores = score_all(read_inputs(connection, tenant_id, configs, as_of), configs, as_of)
        connection.execute("select control.hold_lease(%s)", [fence])
        connection.execute("delete from scores.score_candidates where tenant_id = %s", [tenant_id])
        _write(connection, tenant_id, run_id, as_of, in_force.score_version, scores)
    return {"as_of": as_of.isoformat(), "scored": scores["entity_type"].value_counts().to_dict()}


def read_inputs(connection: psycopg.Connection, tenant_id: str, configs: Configs, as_of: date) -> Inputs:
    """What was known about the tenant, as the engine wants it. Deleted things are not scored."""
    custom = [criterion.field for criterion in configs.fit.custom]
    tenant = {"tenant": tenant_id, "as_of": as_of, "custom": custom}
    # the chosen fields of the source's own record, for custom criteria
    chosen = (
        "(select jsonb_object_agg(field, source_data ->> field) from unnest(%(custom)s::text[]) as field)"
        if custom
        else "null::jsonb"
    )
    return Inputs(
        accounts=_frame(
            connection,
            sql.SQL(
                "select id as account_id, industry, employee_count::float8, annual_revenue::float8, {} as custom"
                " from canonical.accounts"
                " where tenant_id = %(tenant)s and deleted_at is null and external_id <> '_none'"
            ).format(sql.SQL(chosen)),
            tenant,
        ),
        people=_frame(
            connection,
            "select id as person_id, account_id, title, industry, employee_count::float8,"
            " annual_revenue::float8"
            " from canonical.people where tenant_id = %(tenant)s and deleted_at is null",
            tenant,
        ),
        signals=_frame(
            connection,
            "select person_id, signal, day, sum(count)::bigint as count from rollups.rollup_person_signals_daily"
            " where tenant_id = %(tenant)s and day <= %(as_of)s group by 1, 2, 3 having sum(count) > 0",
            tenant,
        ),
        opportunities=_frame(
            connection,
            "select opportunity_id, account_id, is_closed,"
            " (days_in_stage_before + greatest(%(as_of)s::date - stage_entered_on, 0))::float8 as days_in_stage"
            " from rollups.rollup_opportunity_facts where tenant_id = %(tenant)s and not is_deleted",
            tenant,
        ),
        opportunity_contacts=_frame(
            connection,
            "select opportunity_id, person_id from rollups.rollup_opportunity_contacts where tenant_id = %(tenant)s",
            tenant,
        ),
        previous=_frame(
            connection,
            "select entity_type, entity_id, fit_high, engagement_high from scores.engagements"
            " where tenant_id = %(tenant)s",
            tenant,
        ),
    )


def _frame(
    connection: psycopg.Connection, query: LiteralString | sql.Composed, parameters: dict[str, Any]
) -> pd.DataFrame:
    cursor = connection.execute(query, parameters)
    assert cursor.description is not None
    frame = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
    if "day" in frame:
        frame["day"] = pd.to_datetime(frame["day"])
    return frame


def _write(
    connection: psycopg.Connection, tenant_id: str, run_id: str, as_of: date, version: int, scores: pd.DataFrame
) -> None:
    # COPY goes into a temporary table: PostgreSQL refuses it for tables under policies
    columns = sql.SQL(", ").join(map(sql.Identifier, CANDIDATE_COLUMNS))
    connection.execute(
        "create temporary table scored (entity_type text, entity_id text, fit_score numeric, engagement_score numeric,"
        " combined_score numeric, tier text, fit_high boolean, engagement_high boolean, score_breakdown jsonb)"
        " on commit drop"
    )
    with connection.cursor().copy(sql.SQL("copy scored ({}) from stdin").format(columns)) as copy:
        for row in scores[list(CANDIDATE_COLUMNS)].itertuples(index=False, name=None):
            copy.write_row(row)
    connection.execute(
        sql.SQL(
            "insert into scores.score_candidates (tenant_id, run_id, as_of, score_version, {columns})"
            " select %s, %s, %s, %s, {columns} from scored"
        ).format(columns=columns),
        [tenant_id, run_id, as_of, version],
    )
