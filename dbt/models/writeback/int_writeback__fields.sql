-- Three values of each field: the one that we last left there, the one that it shows now, the one that we want.
with told as materialized (
    select
        records.tenant_id,
        targets.connector_id,
        targets.connector,
        targets.stream,
        records.record_id,
        records.entity_type,
        records.entity_id,
        records.name,
        targets.canonical_field,
        targets.field,
        targets.policy,
        targets.material_points,
        {{ mark_of_version("records") }} as version,
        records.source_data ->> 'LastModifiedById' as changed_by,
        nullif(left_as.sent -> targets.field, 'null') as ours,
        -- what raw has may be older than our last writing: then the record shows what we wrote
        case
            when left_as.sent ? targets.field and {{ mark_of_version("records") }} <= left_as.seen_version
                then nullif(left_as.sent -> targets.field, 'null')
            else nullif(records.source_data -> targets.field, 'null')
        end as shown,
        {{ wanted_value("scored", "targets") }} as wanted,
        left_as.held ? targets.field as is_held
    from {{ ref("int_writeback__records") }} as records
    inner join {{ ref("int_writeback__targets") }} as targets
        on
            records.tenant_id = targets.tenant_id
            and records.connector = targets.connector
            and records.stream = targets.stream
    inner join {{ source("scores", "engagements") }} as scored
        on
            records.tenant_id = scored.tenant_id
            and records.entity_type = scored.entity_type
            and records.entity_id = scored.entity_id
    left join {{ source("scores", "writeback_records") }} as left_as
        on
            records.tenant_id = left_as.tenant_id
            and targets.connector_id = left_as.connector_id
            and records.record_id = left_as.record_id
    where left_as.gone_version is null or {{ mark_of_version("records") }} > left_as.gone_version
),

decided as (
    select
        told.*,
        (told.ours is distinct from told.shown) as is_overridden,
        case
            -- never nothing over a value
            when told.wanted is null then 'nothing'
            when told.wanted = told.shown then 'agreed'
            when told.is_held then 'held'
            when told.policy = 'ours' or (told.ours is not distinct from told.shown) then 'write'
            else told.policy
        end as action
    from told
)

select
    tenant_id,
    connector_id,
    connector,
    stream,
    record_id,
    entity_type,
    entity_id,
    name,
    canonical_field,
    field,
    policy,
    version,
    changed_by,
    ours,
    shown,
    wanted,
    is_overridden,
    action,
    -- what alone is worth writing a record for; the rest rides along
    action = 'write'
    and canonical_field in ({{ scores_of_writeback() }})
    and (
        is_overridden
        or canonical_field = 'tier'
        or jsonb_typeof(shown) is distinct from 'number'
        or abs(wanted::numeric - shown::numeric) >= greatest(material_points, 0.1)
    ) as is_material
from decided
