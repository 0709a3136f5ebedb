{{ config(
    unique_key=["tenant_id", "entity_type", "entity_id"],
    meta={"vanished_rows": "delete"},
    indexes=[
        {"columns": ["tenant_id", "entity_type", "entity_id"], "unique": true},
        {"columns": ["tenant_id", "entity_type", "combined"]},
        {"columns": ["tenant_id", "account_id"]},
    ],
) }}

select
    tenant_id,
    entity_type,
    entity_id,
    external_id,
    name,
    account_id,
    account_name,
    fit,
    engagement,
    combined,
    tier,
    because,
    to_be_hot,
    scored_as_of,
    scored_at,
    is_fit_high,
    is_engagement_high,
    fit_coverage
from {{ ref("int_scores__described") }}
