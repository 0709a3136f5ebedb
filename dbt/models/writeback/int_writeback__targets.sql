select
    configs.tenant_id,
    configs.connector_id,
    connectors.type as connector,
    described.stream,
    mapped.pair ->> 'canonicalField' as canonical_field,
    mapped.pair ->> 'targetField' as field,
    coalesce(configs.policies ->> (mapped.pair ->> 'targetField'), 'ask') as policy,
    described.targets #>> array[mapped.pair ->> 'targetField', 'kind'] as kind,
    coalesce((described.targets #>> array[mapped.pair ->> 'targetField', 'length'])::integer, 255) as longest,
    coalesce((described.targets #>> array[mapped.pair ->> 'targetField', 'scale'])::integer, 1) as places,
    described.targets #> array[mapped.pair ->> 'targetField', 'values'] as spelled,
    coalesce((tenants.settings ->> 'historyMaterialPoints')::numeric, 1) as material_points
from {{ source("control", "writeback_configs") }} as configs
inner join {{ source("control", "connectors") }} as connectors
    on
        configs.tenant_id = connectors.tenant_id
        and configs.connector_id = connectors.id
inner join {{ source("control", "tenants") }} as tenants on configs.tenant_id = tenants.id
cross join lateral jsonb_each(configs.targets) as described (stream, targets)
cross join lateral jsonb_array_elements(configs.field_map) as mapped (pair)
where configs.enabled and described.targets ? (mapped.pair ->> 'targetField')
