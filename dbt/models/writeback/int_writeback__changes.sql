select
    tenant_id,
    connector_id,
    record_id,
    min(connector) as connector,
    min(stream) as stream,
    min(entity_type) as entity_type,
    min(entity_id) as entity_id,
    min(name) as name,
    min(version) as version,
    min(changed_by) as changed_by,
    case when bool_or(is_material) then jsonb_object_agg(field, shown) filter (where action = 'write') end as shown,
    case when bool_or(is_material) then jsonb_object_agg(field, wanted) filter (where action = 'write') end as wanted,
    jsonb_agg(jsonb_build_object('field', field, 'ours', ours, 'theirs', shown, 'policy', policy)) filter (
        where is_overridden and action <> 'agreed'
    ) as overridden,
    jsonb_object_agg(field, shown) filter (where is_overridden and action = 'agreed') as adopted
from {{ ref("int_writeback__fields") }}
where action in ('write', 'theirs', 'ask') or (action = 'agreed' and is_overridden)
group by tenant_id, connector_id, record_id
having bool_or(is_material) or bool_or(is_overridden)
