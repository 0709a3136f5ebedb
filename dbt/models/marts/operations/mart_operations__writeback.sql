{{ config(
    unique_key=["tenant_id", "receipt_id"],
    indexes=[
        {"columns": ["tenant_id", "receipt_id"], "unique": true},
        {"columns": ["tenant_id", "planned_on"]},
        {"columns": ["tenant_id", "changed_at"]},
    ],
) }}

with receipts as (
    select
        receipts.*,
        greatest(receipts.planned_at, receipts.sent_at, receipts.settled_at, receipts.undone_at) as changed_at
    from {{ source("scores", "writeback_receipts") }} as receipts
    where receipts.outcome <> 'planned'
)

select
    receipts.tenant_id,
    receipts.id as receipt_id,
    receipts.run_id,
    connectors.type as connector,
    receipts.stream,
    receipts.record_id,
    receipts.entity_type,
    receipts.entity_id,
    entities.name,
    receipts.outcome,
    receipts.error_code,
    receipts.error,
    receipts.shown as value_before,
    receipts.wanted as value_sent,
    receipts.planned_at,
    receipts.sent_at,
    receipts.settled_at,
    receipts.changed_at,
    (receipts.planned_at at time zone 'UTC')::date as planned_on,
    receipts.outcome in ('rejected', 'busy', 'sending') as is_lost,
    receipts.undoes is not null as is_undo,
    receipts.undone_at is not null as is_undone
from receipts
inner join {{ source("control", "connectors") }} as connectors
    on
        receipts.tenant_id = connectors.tenant_id
        and receipts.connector_id = connectors.id
left join {{ ref("int_entities__named") }} as entities
    on
        receipts.tenant_id = entities.tenant_id
        and receipts.entity_type = entities.entity_type
        and receipts.entity_id = entities.entity_id
{% if is_incremental() -%}
    where
        receipts.changed_at >= coalesce(
            (
                select max(known.changed_at) from {{ this }} as known
                where known.tenant_id = receipts.tenant_id
            ),
            '-infinity'
        )
{%- endif %}
