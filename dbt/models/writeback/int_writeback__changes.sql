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
    jsonb_object_agg(field, shown) filter (where action = 'write') as shown,
    jsonb_object_agg(field, wanted) filter (where action = 'write') as wanted
from {{ ref("int_writeback__fields") }}
where action = 'write'
group by tenant_id, connector_id, record_id
having bool_or(is_material)
