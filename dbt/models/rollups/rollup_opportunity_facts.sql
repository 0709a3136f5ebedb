{{ config(
    unique_key=["tenant_id", "opportunity_id"],
    indexes=[{"columns": ["tenant_id", "opportunity_id"], "unique": true}],
) }}

select
    tenant_id,
    id as opportunity_id,
    account_id,
    stage,
    (source_data -> '_facts' ->> 'is_closed')::boolean as is_closed,
    ((source_data -> '_facts' ->> 'stage_changed_at')::timestamptz at time zone 'UTC')::date as stage_entered_on,
    deleted_at is not null as is_deleted
from {{ ref("opportunities") }}
